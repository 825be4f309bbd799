"""The import hook in ``conftest.py`` is at work: a wrong type is an error in every package."""

import pytest
from beartype.roar import BeartypeCallHintParamViolation

from finishline.seeds import derive_seed
from scoring.logs import read_meta
from workloads.mnist import idx


@pytest.mark.parametrize(
    ("function", "arguments"),
    [(derive_seed, [1.5]), (read_meta, ["trial_1"]), (idx.find, ["folder", "name"])],
)
def test_wrong_types_are_errors(function, arguments):
    with pytest.raises(BeartypeCallHintParamViolation):
        function(*arguments)
