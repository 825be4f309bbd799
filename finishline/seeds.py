"""Seeds: every random number of a competition follows from one root seed.

These seeds exist:

root
  Given on the command line and recorded with every run.
data, init
  Of (root, workload, study, trial): the batch order and the initial parameters. The submission is
  left out on purpose, so that all submissions in both frameworks meet the same batches in the same
  order (common random numbers), and differences between them are differences between algorithms.
submission
  Of (root, submission, workload, study, trial): the ``rng`` that the submission's functions get.
tuning
  Of (root, submission, workload, study): the hyperparameter points of a study's trials.
"""

import dataclasses
import hashlib
import json


def derive_seed(*parts: str | int) -> int:
    """A seed in [0, 2**63) that depends on ``parts``, on their order and on nothing else.

    The first 63 bits of the SHA-256 of ``parts`` as a JSON list, in which ``1`` and ``"1"``, or
    ``"a", "b"`` and ``"ab"``, differ. Unlike ``hash()`` the same in every process and version.
    """
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def tuning_seed(root: int, submission: str, workload: str, study: int) -> int:
    """The seed from which the hyperparameter points of one study are drawn."""
    return derive_seed(root, "tuning", submission, workload, study)


@dataclasses.dataclass(frozen=True)
class TrialSeeds:
    """The seeds of one trial.

    Attributes:
      data: order and augmentation of the training examples.
      init: the initial parameters.
      submission: the submission's own random numbers.
    """

    data: int
    init: int
    submission: int

    @classmethod
    def derive(
        cls, root: int, submission: str, workload: str, study: int, trial: int
    ) -> "TrialSeeds":
        """The seeds of trial ``trial`` of study ``study``."""
        return cls(
            data=derive_seed(root, "data", workload, study, trial),
            init=derive_seed(root, "init", workload, study, trial),
            submission=derive_seed(root, "submission", submission, workload, study, trial),
        )
