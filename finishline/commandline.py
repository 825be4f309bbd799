"""What the command lines share: parsing, help, and errors in one sentence."""

import difflib
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

from absl import flags

from finishline.errors import BAD_INPUT_EXIT_CODE, Status, UserError

_HELP = frozenset({"-h", "-help", "--help", "--helpfull", "--helpshort"})


def run(
    main: Callable[[list[str]], int], *, argument: str | None = None, is_repeated: bool = False
) -> None:
    """Parses the flags, calls ``main`` and exits with what it returns.

    Args:
      main: gets a list of what is not a flag.
      argument: what the one argument beside the flags is called, such as 'RUN_DIR'; None if there
        is none.
      is_repeated: whether there may be several of it.
    """
    sys.exit(_run(main, sys.argv, argument, is_repeated=is_repeated))


def _run(
    main: Callable[[list[str]], int],
    argv: list[str],
    argument: str | None = None,
    *,
    is_repeated: bool = False,
) -> int:
    if _HELP & set(argv[1:]):
        print(f"{(sys.modules['__main__'].__doc__ or '').strip()}\n\nFlags:")
        print(flags.FLAGS.main_module_help())
        return 0
    try:
        flags.FLAGS.set_gnu_getopt(True)  # flags may come after the argument
        rest = flags.FLAGS(argv)[1:]
        if argument is not None and not rest:
            raise UserError(f"{argument} is missing on the command line; see --help.")
        if not is_repeated and rest[argument is not None :]:
            raise UserError(f"The argument {rest[-1]!r} is not a flag; see --help.")
        return main(rest)
    except flags.Error as error:
        return _complain(f"{error} (see --help)")
    except UserError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return Status.INTERRUPTED.exit_code


def read_toml(path: Path) -> None:
    """Sets the flags in a TOML file; those on the command line win.

    Raises:
      UserError: the file cannot be read, or a name or value is not a flag's.
    """
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:  # no TOML, or no UTF-8
        raise UserError(f"The file {path} cannot be read as TOML: {error}.") from error
    known = flags.FLAGS
    own = {flag.name for flag in known.get_key_flags_for_module(sys.modules["__main__"])}
    for name, value in values.items():
        if name not in own:
            near = difflib.get_close_matches(name, own, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else "see --help for the names."
            raise UserError(f"{path} sets {name!r}, which is not a flag; {remedy}")
        if not known[name].present:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            known[name].parse(text)


def _complain(sentence: str) -> int:
    sys.stdout.flush()
    print(f"error: {' '.join(sentence.split())}", file=sys.stderr)
    return BAD_INPUT_EXIT_CODE
