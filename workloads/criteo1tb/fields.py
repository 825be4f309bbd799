"""The fields of an example, as evaluation and training see them."""

from finishline.data.prepared import Field

NUM_NUMBERS = 13
NUM_CATEGORIES = 26

FIELDS = {
    "inputs": Field((NUM_NUMBERS,), "float32"),
    "categories": Field((NUM_CATEGORIES,), "int32"),
    "targets": Field((1,), "float32"),
}
