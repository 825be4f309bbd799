"""A helper of the submission."""


def mean_loss(workload, batch, logits):
    losses = workload.loss_fn(
        label_batch=batch["targets"], logits_batch=logits, mask_batch=batch.get("weights")
    )
    return losses["summed"] / losses["n_valid_examples"]


def get_batch_size(workload_name):
    if workload_name == "ogbg":
        return 512
    if workload_name == "mnist":
        return 16
    raise ValueError(f"Unsupported workload name: {workload_name}.")


def data_selection(
    workload,
    input_queue,
    optimizer_state,
    current_param_container,
    model_state,
    hyperparameters,
    global_step,
    rng,
):
    return next(input_queue)
