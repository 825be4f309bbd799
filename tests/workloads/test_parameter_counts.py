"""Full-size models have the parameters that AlgoPerf's have; none is allocated to see that."""

import flax
import jax
import numpy as np
import pytest

from finishline.frameworks.convert import flax_to_torch_state_dict
from finishline.frameworks.counting import count_parameters, parameter_shapes
from finishline.workload import all_workloads

WORKLOADS = all_workloads()

# Parameters and tensors. Where the tensors of AlgoPerf's two frameworks differ in number, because
# one of them cuts or fuses some, the number is that of the one that does not.
PUBLISHED = {
    "cifar": (11_173_962, 62),
    "criteo1tb": (539_267_457, 17),
    "criteo1tb_embed_init": (539_267_457, 17),
    "criteo1tb_layernorm": (539_275_137, 33),
    "criteo1tb_resnet": (538_121_473, 17),
    "fastmri": (7_756_097, 24),
    "fastmri_layernorm": (7_761_985, 60),
    "fastmri_model_size": (7_692_929, 19),
    "fastmri_tanh": (7_756_097, 24),
    "finewebedu_lm": (252_815_372, 110),
    "imagenet_resnet": (25_557_032, 161),
    "imagenet_resnet_gelu": (25_557_032, 161),
    "imagenet_resnet_large_bn_init": (25_557_032, 161),
    "imagenet_resnet_silu": (25_557_032, 161),
    "imagenet_vit": (22_122_472, 200),
    "imagenet_vit_glu": (50_452_456, 224),
    "imagenet_vit_map": (23_896_552, 215),
    "imagenet_vit_post_ln": (22_121_704, 198),
    "librispeech_conformer": (32_321_792, 154),
    "librispeech_conformer_attention_temperature": (32_321_792, 154),
    "librispeech_conformer_gelu": (32_321_792, 154),
    "librispeech_conformer_layernorm": (32_317_696, 146),
    "mnist": (101_770, 4),
    "ogbg": (3_554_176, 66),
    "ogbg_gelu": (3_554_176, 66),
    "ogbg_model_size": (2_571_648, 78),
    "ogbg_silu": (3_554_176, 66),
    "wmt": (133_521_408, 185),
    "wmt_attention_temp": (133_521_408, 185),
    "wmt_glu_tanh": (146_116_608, 209),
    "wmt_post_ln": (133_517_312, 181),
}
# Each LSTM of PyTorch has two biases, and there are 6 of them in 2 directions. AlgoPerf's model in
# JAX has 178 tensors, or 176: a kernel for each gate, where PyTorch has one for the four.
PUBLISHED_BY_FRAMEWORK = {
    "librispeech_deepspeech": {"jax": (18_381_312, 70), "pytorch": (18_393_600, 82)},
    "librispeech_deepspeech_no_resnet": {"jax": (18_381_312, 70), "pytorch": (18_393_600, 82)},
    "librispeech_deepspeech_norm_and_spec_aug": {
        "jax": (18_380_288, 68),
        "pytorch": (18_392_576, 80),
    },
    "librispeech_deepspeech_tanh": {"jax": (18_381_312, 70), "pytorch": (18_393_600, 82)},
}


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
@pytest.mark.parametrize("name", [*PUBLISHED, *PUBLISHED_BY_FRAMEWORK])
def test_counts_are_the_published_ones(name, framework):
    published = PUBLISHED_BY_FRAMEWORK.get(name, {framework: PUBLISHED.get(name)})
    count, num_tensors = published[framework]
    assert count_parameters(WORKLOADS[name], framework) == count
    assert len(parameter_shapes(WORKLOADS[name], framework)) == num_tensors


@pytest.mark.parametrize("name", WORKLOADS)
def test_both_frameworks_have_the_same_parameters(name):
    by_framework = {f: parameter_shapes(WORKLOADS[name], f) for f in ("jax", "pytorch")}
    # The converter copies arrays, so each size has a small number that stands for it.
    sizes = {size for shape in by_framework["jax"].values() for size in shape}
    stand_in = {size: i for i, size in enumerate(sorted(sizes), start=1)}
    small = {path: np.empty([stand_in[n] for n in s]) for path, s in by_framework["jax"].items()}
    params = flax.traverse_util.unflatten_dict(small, sep="/")
    converted = flax_to_torch_state_dict(params, {})
    assert {path: array.shape for path, array in converted.items()} == {
        path: tuple(stand_in[n] for n in shape) for path, shape in by_framework["pytorch"].items()
    }


def test_a_count_is_the_number_of_numbers_in_a_model():
    before = set(map(id, jax.live_arrays()))
    workload = WORKLOADS["digits"]
    model = workload.build_model("pytorch")
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count_parameters(workload, "pytorch") == count_parameters(workload, "jax") == count
    assert not set(map(id, jax.live_arrays())) - before
