"""The import hook in ``conftest.py`` is at work: a wrong type is an error in every package."""

import pytest
from beartype.roar import BeartypeCallHintParamViolation

from finishline.seeds import derive_seed
from scoring.profiles import performance_ratios
from workloads.mnist import idx


@pytest.mark.parametrize(
    ("function", "arguments"),
    [(derive_seed, [1.5]), (performance_ratios, [[[1.0]]]), (idx.find, ["folder", "name"])],
)
def test_wrong_types_are_errors(function, arguments):
    with pytest.raises(BeartypeCallHintParamViolation):
        function(*arguments)
