"""Finding and reading the originals: documents in Parquet or Arrow files.

FineWeb-Edu is distributed as Parquet files with the documents in a column ``text``. What AlgoPerf's
set-up leaves of them, Arrow files with GPT-2's tokens in a column ``input_ids``, is read as well,
and so are Parquet files with that column.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from finishline.errors import UserError

TOKENIZER = "tokenizer.json"

HOW_TO_OBTAIN = (
    "FineWeb-Edu is open: `hf download HuggingFaceFW/fineweb-edu --repo-type dataset --include "
    "'sample/10BT/*' --local-dir {folder}` (about 28 GB) brings the documents, and `hf download "
    f"openai-community/gpt2 {TOKENIZER} --local-dir {{folder}}` the tokenizer (`hf` comes with "
    "`pip install huggingface_hub`)"
)


@dataclasses.dataclass(frozen=True)
class Piece:
    """Some of the documents of a file, in their order.

    Attributes:
      path: the file.
      column: 'text' or 'input_ids'.
      row_groups: of a Parquet file; None for an Arrow file, which is read from its beginning.
      num_bytes: of these documents, uncompressed.
    """

    path: Path
    column: str
    row_groups: range | None
    num_bytes: int

    def documents(self) -> Iterator[str | list[int]]:
        """The text or the tokens of each document.

        Raises:
          UserError: the file is damaged, or a document is missing; the message names the file.
        """
        with named_damage(self.path), contextlib.closing(self._columns()) as columns:
            for column in columns:
                if column.null_count:
                    raise UserError(
                        f"{self.path} has a row without {self.column!r}; download it again."
                    )
                yield from column.to_pylist()

    def _columns(self) -> Generator[Any]:
        import pyarrow as pa
        from pyarrow import parquet

        if self.row_groups is not None:
            with parquet.ParquetFile(self.path) as file:
                batches = file.iter_batches(
                    batch_size=1024,
                    row_groups=list(self.row_groups),
                    columns=[self.column],
                    use_threads=False,
                )
                yield from (batch.column(0) for batch in batches)
            return
        with pa.memory_map(str(self.path)) as file, pa.ipc.open_stream(file) as batches:
            yield from (batch.column(self.column) for batch in batches)


def find_files(folder: Path) -> list[Path]:
    """The original files in ``folder`` and below it, in their order.

    Raises:
      UserError: there are none, or there is no tokenizer; the message says how to obtain them.
    """
    found = sorted(
        path
        for suffix in ("parquet", "arrow")
        for path in folder.rglob(f"*.{suffix}")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    missing = [] if found else ["no .parquet files with documents"]
    missing += [] if (folder / TOKENIZER).is_file() else [f"no {TOKENIZER}"]
    if missing:
        raise UserError(
            f"There are {' and '.join(missing)} in {folder}. "
            f"{HOW_TO_OBTAIN.format(folder=folder)}; or say with --source where they are."
        )
    return found


def cut(path: Path, documents_per_piece: int) -> list[Piece]:
    """The pieces of a file: about equal, and about so many documents each.

    Raises:
      UserError: the file is damaged, or has neither texts nor tokens; the message names it.
    """
    import pyarrow as pa
    from pyarrow import parquet

    with named_damage(path):
        if path.suffix == ".arrow":
            with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as batches:
                column = _column_of(path, batches.schema.names)
            return [Piece(path, column, None, path.stat().st_size)]
        with parquet.ParquetFile(path) as file:
            column = _column_of(path, file.schema_arrow.names)
            sizes = [_column_size(file, group, column) for group in range(file.num_row_groups)]
            num_pieces = max(1, round(file.metadata.num_rows / documents_per_piece))
    bounds = [len(sizes) * i // num_pieces for i in range(num_pieces + 1)]
    groups = [range(*pair) for pair in itertools.pairwise(bounds) if pair[0] < pair[1]]
    return [Piece(path, column, group, sum(sizes[i] for i in group)) for group in groups]


def _column_of(path: Path, names: Sequence[str]) -> str:
    for column in ("input_ids", "text"):
        if column in names:
            return column
    raise UserError(
        f"{path} has neither a column 'text' nor 'input_ids'; it is no file of documents: move it "
        "elsewhere, or say with --source where they are."
    )


def _column_size(file: Any, row_group: int, column: str) -> int:
    """Bytes of a column in a row group, uncompressed; a list's path has more parts than a name."""
    group = file.metadata.row_group(row_group)
    columns = map(group.column, range(group.num_columns))
    return sum(
        one.total_uncompressed_size for one in columns if one.path_in_schema.split(".")[0] == column
    )


@contextlib.contextmanager
def named_damage(path: Path) -> Iterator[None]:
    """Turns what a damaged file raises into an error that names it."""
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(
            f"{path} is damaged or incomplete ({reason}); download it again."
        ) from error
