from flax import linen as nn


class Model(nn.Module):
    """Batch norm, then one linear unit."""

    num_inputs: int

    output_layer = "linear"

    @nn.compact
    def __call__(self, batch, *, train, dropout_rate):
        x = nn.BatchNorm(
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-5,
            use_fast_variance=False,
            name="norm",
        )(batch["inputs"])
        return nn.Dense(1, name="linear")(x)[:, 0]
