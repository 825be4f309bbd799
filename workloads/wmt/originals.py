"""The original files, as the Conference on Machine Translation distributes them.

Training text is one file a language and corpus, a sentence a line, in archives; newstest 2013 and
2014 are SGML files in another. What has been unpacked from them will do, too.
"""

import contextlib
import html
import itertools
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from finishline.data.preparation import check_disk
from finishline.data.progress import progress
from finishline.errors import UserError

LANGUAGES = ("de", "en")  # from, to


class Corpus(NamedTuple):
    """A corpus of pairs of sentences.

    Attributes:
      files: the names of its two files, by language.
      archive: the name of the archive that has them.
    """

    files: Mapping[str, str]
    archive: str


def _training(name: str, archive: str) -> Corpus:
    return Corpus({language: f"{name}.de-en.{language}" for language in LANGUAGES}, archive)


CORPORA: Mapping[str, Sequence[Corpus]] = {
    "train": (
        _training("europarl-v7", "training-parallel-europarl-v7.tgz"),
        _training("commoncrawl", "training-parallel-commoncrawl.tgz"),
        _training("news-commentary-v12", "training-parallel-nc-v12.tgz"),
        _training("rapid2016", "rapid2016.tgz"),
    ),
    "validation": (
        Corpus({"de": "newstest2013-src.de.sgm", "en": "newstest2013-ref.en.sgm"}, "dev.tgz"),
    ),
    "test": (
        Corpus(
            {"de": "newstest2014-deen-src.de.sgm", "en": "newstest2014-deen-ref.en.sgm"}, "dev.tgz"
        ),
    ),
}

HOW_TO_OBTAIN = (
    "get training-parallel-europarl-v7.tgz and training-parallel-commoncrawl.tgz from "
    "https://www.statmt.org/wmt13/, and training-parallel-nc-v12.tgz, rapid2016.tgz and dev.tgz "
    "from https://data.statmt.org/wmt17/translation-task/, about 2.2 GB in all"
)

Pair = tuple[str, str]  # a sentence and its translation
_FOLDERS = ("", "training", "dev")  # where archives have their files


class Text(NamedTuple):
    """A corpus that can be read.

    Attributes:
      name: of its first file, without what says which language it has.
      paths: of the two files, in the order of ``LANGUAGES``.
    """

    name: str
    paths: tuple[Path, Path]

    @property
    def num_bytes(self) -> int:
        """Of both files."""
        return sum(path.stat().st_size for path in self.paths)


def unpacked(source: Path, splits: Sequence[str], scratch: Path) -> dict[str, list[Text]]:
    """The texts of ``splits``; what is in archives is unpacked to ``scratch`` first.

    Files that lie there already from an earlier call are taken as they are.

    Raises:
      UserError: files are missing, which the message names, or an archive is damaged.
    """
    corpora = [corpus for split in splits for corpus in CORPORA[split]]
    missing: dict[str, set[str]] = {}  # files by archive
    for corpus in corpora:
        absent = {name for name in corpus.files.values() if _find(source, name, scratch) is None}
        if absent:
            missing.setdefault(corpus.archive, set()).update(absent)
    archives = {name: source / name for name in missing}
    lacking = [name for name, path in archives.items() if not path.is_file()]
    if lacking:
        raise UserError(
            f"There is no {' and no '.join(lacking)} in {source}; {HOW_TO_OBTAIN}, and put them "
            "there or say with --source where they are."
        )
    for name, path in archives.items():
        _unpack(path, missing[name], scratch)
    return {
        split: [_text(corpus, source, scratch) for corpus in CORPORA[split]] for split in splits
    }


def pairs(text: Text) -> Iterator[Pair]:
    """The pairs of a corpus in their order; those that lack a side are left out.

    Raises:
      UserError: the files are not of one length, or are no text.
    """
    sides = [_sentences(path) for path in text.paths]
    for number, (source, target) in enumerate(itertools.zip_longest(*sides), start=1):
        if source is None or target is None:
            longer, shorter = text.paths if target is None else reversed(text.paths)
            raise UserError(
                f"{shorter} has {number - 1:,} sentences and {longer} has more; replace both by "
                "the original files."
            )
        if source and target:
            yield source, target


def _sentences(path: Path) -> Iterator[str]:
    try:
        if path.suffix == ".sgm":
            content = path.read_text(encoding="utf-8")
            for found in re.finditer(
                r"<seg\b[^>]*>(.*?)</seg>", content, re.DOTALL | re.IGNORECASE
            ):
                yield html.unescape(found[1]).strip()
            return
        with path.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                yield line.strip()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is no text in UTF-8 ({error.reason} at byte {error.start}); replace it by the "
            "original file."
        ) from error


def _find(source: Path, name: str, scratch: Path) -> Path | None:
    candidates = [scratch / name, *(source / folder / name for folder in _FOLDERS)]
    return next((path for path in candidates if path.is_file()), None)


def _text(corpus: Corpus, source: Path, scratch: Path) -> Text:
    found = [_find(source, corpus.files[language], scratch) for language in LANGUAGES]
    first, second = (path for path in found if path is not None)
    return Text(re.split(r"\.|-src", first.name)[0], (first, second))


def _unpack(archive: Path, names: set[str], scratch: Path) -> None:
    """Writes the members called ``names`` to ``scratch``, each in full or not at all."""
    scratch.mkdir(parents=True, exist_ok=True)
    left = set(names)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_named_damage(archive))
        raw = stack.enter_context(archive.open("rb"))
        tar = stack.enter_context(tarfile.open(fileobj=raw, mode="r|*"))
        advance = stack.enter_context(progress(archive.name, archive.stat().st_size))
        done = 0
        for member in tar:
            name = Path(member.name).name
            file = tar.extractfile(member) if name in left else None
            if file is not None:
                check_disk(scratch, member.size)
                partial = scratch / f".{name}.partial"
                with partial.open("wb") as copy:
                    shutil.copyfileobj(file, copy)
                partial.rename(scratch / name)
                left.remove(name)
            advance(raw.tell() - done)
            done = raw.tell()
            if not left:
                return
    raise UserError(
        f"{archive} lacks {', '.join(sorted(left))}; replace it by the original archive."
    )


@contextlib.contextmanager
def _named_damage(archive: Path) -> Iterator[None]:
    """Turns what a damaged archive raises into an error that names it."""
    try:
        yield
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise UserError(
            f"{archive} is damaged or incomplete ({error}); download it again, and run the same "
            "command."
        ) from error
