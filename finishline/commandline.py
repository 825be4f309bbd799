"""What the command lines share: parsing, help, and errors in one sentence."""

import sys
from collections.abc import Callable

from absl import flags

from finishline.errors import BAD_INPUT_EXIT_CODE, Status, UserError

_HELP = frozenset({"-h", "-help", "--help", "--helpfull", "--helpshort"})


def run(main: Callable[[list[str]], int]) -> None:
    """Parses the flags, calls ``main`` and exits with what it returns."""
    sys.exit(_run(main, sys.argv))


def _run(main: Callable[[list[str]], int], argv: list[str]) -> int:
    if _HELP & set(argv[1:]):
        print(f"{(sys.modules['__main__'].__doc__ or '').strip()}\n\nFlags:")
        print(flags.FLAGS.main_module_help())
        return 0
    try:
        rest = flags.FLAGS(argv)[1:]
        if rest:
            raise UserError(f"The argument {rest[0]!r} is not a flag; see --help.")
        return main(rest)
    except flags.Error as error:
        return _complain(f"{error} (see --help)")
    except UserError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return Status.INTERRUPTED.exit_code


def _complain(sentence: str) -> int:
    sys.stdout.flush()
    print(f"error: {' '.join(sentence.split())}", file=sys.stderr)
    return BAD_INPUT_EXIT_CODE
