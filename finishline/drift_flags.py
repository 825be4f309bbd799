"""The flags of all command lines that run trials: what happens if the machine's speed changes."""

from absl import flags

from finishline.calibration import DEFAULT_MAX_DRIFT, OnDrift

# Flags of the command line that calls ``define``, not of this module.
flags.disclaim_key_flags()


def define() -> None:
    """Defines them."""
    flags.DEFINE_enum(
        "on_drift",
        None,
        list(OnDrift),
        "Time a fixed piece of work before and after each trial; if the machine's speed has "
        "changed, warn, or end the trial with infrastructure_error, so that it is run anew "
        "(docs/machine.md). Default: off; with containers, warn.",
    )
    flags.DEFINE_float(
        "max_drift",
        DEFAULT_MAX_DRIFT,
        "Change of the machine's speed that --on_drift puts up with; 0.01 is 1 %.",
        lower_bound=0.0,
        upper_bound=0.5,
    )
