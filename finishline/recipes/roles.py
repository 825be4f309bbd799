"""Which parameters are matrices, by their role rather than their shape."""

from finishline.spec import ParameterType

# Kernels, also those of convolutions, which are matrices of (window x inputs, outputs).
MATRIX_ROLES = frozenset(
    {
        ParameterType.WEIGHT,
        ParameterType.CONV_WEIGHT,
        ParameterType.ATTENTION_Q,
        ParameterType.ATTENTION_K,
        ParameterType.ATTENTION_V,
        ParameterType.ATTENTION_OUT,
        ParameterType.ATTENTION_QKV,
        ParameterType.ATTENTION_KV,
    }
)
