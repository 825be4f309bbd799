"""The flags of all command lines that run trials: whether the compatibility layer is on."""

from absl import flags

# Flags of the command line that calls ``define``, not of this module.
flags.disclaim_key_flags()


def define() -> None:
    """Defines them."""
    flags.DEFINE_bool(
        "compat",
        True,
        "Supply what published AlgoPerf submissions need, such as the package algoperf "
        "(docs/compatibility.md).",
    )
    flags.DEFINE_bool("no_compat", False, "The same as --nocompat.")


def is_on() -> bool:
    """Whether the command line leaves the layer on."""
    return flags.FLAGS.compat and not flags.FLAGS.no_compat
