"""The archives of LibriSpeech as they are distributed, and the prepared splits made of them.

``<part>.tar.gz`` holds ``LibriSpeech/<part>/<speaker>/<chapter>/<utterance>.flac`` and, for each
chapter, ``<speaker>-<chapter>.trans.txt`` with lines of an utterance's name and its words. What is
not there is downloaded. An archive is read through twice: for the transcripts, and for the audio.
An unpacked folder will do as well.
"""

import contextlib
import dataclasses
import functools
import io
import tarfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from finishline.data.download import Original, download
from finishline.data.preparation import ShardContent
from finishline.data.streaming import StreamShard, StreamTask, prepare_streams
from finishline.digests import sha256_of
from finishline.errors import UserError
from workloads import subwords
from workloads.imagenet.archives import damaged, open_archive
from workloads.librispeech.frontend import SAMPLE_RATE

PARTS = {
    "train": ("train-clean-100", "train-clean-360", "train-other-500"),
    "validation": ("dev-clean", "dev-other"),
    "test": ("test-clean",),
}
FORMAT = 1

# As published beside the archives, in md5sum.txt.
_MD5 = {
    "train-clean-100": "2a93770f6d5c6c964bc36631d331a522",
    "train-clean-360": "c0e676e450a7ff2f54aeade5171606fa",
    "train-other-500": "d1a0fd59409feb2c614ce4d30c387708",
    "dev-clean": "42e2234ba48799c1f50f24a7926300a1",
    "dev-other": "c8d0bcc9cca99d4f8b62fcc847357931",
    "test-clean": "32fa31d27d2e1cad72775fee3f4849a9",
}
_URL = "https://www.openslr.org/resources/12/{}.tar.gz"

_SHARD_BYTES = 2**28  # of FLAC, about 450 MB of samples: large shards are read by memory map
_PREPARED_SHARE = 1.8  # samples by FLAC

_BLANK_ID = subwords.LIBRARY_IDS.unknown  # CTC's blank has the id of the piece that is never used


class Limits(NamedTuple):
    """What utterances are left out that have more: samples, characters, pieces with the end's."""

    samples: int
    characters: int
    tokens: int


def find(source: Path, splits: Sequence[str]) -> dict[str, list[Path]]:
    """The archives or unpacked folders of each of ``splits``; missing ones are downloaded.

    Raises:
      UserError: a download fails; the message says what to do.
    """
    return {split: [_find(source, part) for part in PARTS[split]] for split in splits}


def _find(source: Path, part: str) -> Path:
    archive = source / f"{part}.tar.gz"
    for path in (source / "LibriSpeech" / part, source / part):
        if path.is_dir() and not archive.is_file():
            return path
    if not archive.is_file():
        download(Original(_URL.format(part), "md5", _MD5[part]), archive)
    return archive


def make_vocabulary(train: Sequence[Path], path: Path, vocab_size: int) -> None:
    """Makes the vocabulary of the transcripts of the first training part.

    Raises:
      UserError: it is damaged.
    """
    transcripts = read_transcripts(train[0])
    sentences = (transcripts[name] for name in sorted(transcripts))
    subwords.train(sentences, path, vocab_size=vocab_size)


def prepare_split(
    folder: Path, parts: Sequence[Path], vocabulary: Path, limits: Limits, num_workers: int
) -> None:
    """Makes a prepared split of archives or unpacked folders.

    Args:
      folder: the split.
      parts: of the split.
      vocabulary: its file.
      limits: what is left out.
      num_workers: how many processes work; each reads a part from beginning to end.

    Raises:
      UserError: an original is damaged, or there is no room; the message says which.
    """
    sizes = {part.name: _num_bytes(part) for part in parts}
    tasks = [
        StreamTask(
            part.name.removesuffix(".tar.gz"),
            sizes[part.name],
            functools.partial(_shards, Reader(part, vocabulary, limits)),
        )
        for part in parts
    ]
    prepare_streams(
        folder,
        tasks,
        identity={
            "format": FORMAT,
            "limits": limits._asdict(),
            "vocabulary": sha256_of(vocabulary),
            "files": sizes,
        },
        disk_bytes=int(_PREPARED_SHARE * sum(sizes.values())),
        num_workers=num_workers,
    )


def _num_bytes(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*.flac"))


def read_transcripts(path: Path) -> dict[str, str]:
    """The words of each utterance, by its name.

    Raises:
      UserError: the archive is damaged, or a transcript has no words; the message names it.
    """
    transcripts: dict[str, str] = {}
    for name, content in _files(path, ".trans.txt"):
        for line in content.decode("utf-8", errors="replace").splitlines():
            utterance, _, words = line.partition(" ")
            if not words.strip():
                raise damaged(path, f"is damaged: {name} in it has the line {line[:40]!r}")
            transcripts[utterance] = words.strip()
    if not transcripts:
        raise damaged(path, "has no transcripts")
    return transcripts


def _files(path: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files whose names end in ``suffix``, in the archive's order."""
    if path.is_dir():
        for found in sorted(path.rglob(f"*{suffix}")):
            yield found.name, found.read_bytes()
        return
    with open_archive(path) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                if member.isfile() and member.name.endswith(suffix):
                    file = tar.extractfile(member)
                    assert file is not None  # it is a regular file
                    yield Path(member.name).name, file.read()
        while stream.read(2**20):
            pass  # there is a checksum at the end


@dataclasses.dataclass(frozen=True)
class Reader:
    """Reads the utterances of one part.

    Attributes:
      path: the archive or folder.
      vocabulary: the vocabulary's file.
      limits: what is left out.
    """

    path: Path
    vocabulary: Path
    limits: Limits

    def shards(self) -> Generator[list[tuple[str, bytes]]]:
        """Names and contents of the audio files, as many together as make a shard.

        Raises:
          UserError: the archive is damaged.
        """
        shard: list[tuple[str, bytes]] = []
        num_bytes = 0
        for name, content in _files(self.path, ".flac"):
            if num_bytes >= _SHARD_BYTES:
                yield shard
                shard, num_bytes = [], 0
            shard.append((name.removesuffix(".flac"), content))
            num_bytes += len(content)
        yield shard

    def content(
        self, files: Sequence[tuple[str, bytes]], transcripts: Mapping[str, str]
    ) -> ShardContent:
        """The utterances of one shard, but for those beyond the limits.

        Raises:
          UserError: an utterance has no transcript, or is no audio of the right kind.
        """
        pieces = subwords.Subwords(self.vocabulary)
        samples, tokens = [], []
        for name, content in files:
            if name not in transcripts:
                raise damaged(self.path, f"is damaged: it has no transcript of {name}")
            ids = self._encoded(name, transcripts[name], pieces)
            if len(transcripts[name]) > self.limits.characters or len(ids) > self.limits.tokens:
                continue
            audio = self._decoded(name, content)
            if len(audio) <= self.limits.samples:
                samples.append(audio)
                tokens.append(ids)
        return ShardContent(
            {
                "num_samples": np.array([len(audio) for audio in samples], np.int32),
                "num_tokens": np.array([len(ids) for ids in tokens], np.int32),
            },
            parts={
                "samples": np.concatenate([*samples, np.zeros(0, np.int16)]),
                "tokens": np.concatenate([*tokens, np.zeros(0, np.int32)]),
            },
        )

    def _encoded(self, name: str, words: str, pieces: subwords.Subwords) -> np.ndarray:
        ids = pieces.encode(words)
        if _BLANK_ID in ids:
            raise UserError(
                f"The transcript of {name} in {self.path}, {words[:40]!r}, has a character that is "
                f"in no transcript of {PARTS['train'][0]}; check the original files."
            )
        return np.array([*ids, subwords.LIBRARY_IDS.end], np.int32)

    def _decoded(self, name: str, content: bytes) -> np.ndarray:
        import soundfile

        try:
            audio, rate = soundfile.read(io.BytesIO(content), dtype="int16")
        except soundfile.SoundFileError as error:
            raise damaged(self.path, f"is damaged: {name}.flac in it is no audio") from error
        if audio.ndim != 1 or rate != SAMPLE_RATE:
            raise damaged(
                self.path,
                f"has {name}.flac with {audio.ndim} channels and {rate} samples a second, not one "
                f"channel and {SAMPLE_RATE}",
            )
        return audio


def _shards(reader: Reader, start: int) -> Iterator[StreamShard]:
    """The shards of a part from the one numbered ``start`` on."""
    transcripts = read_transcripts(reader.path)
    num_seen, made = 0, None
    with contextlib.closing(reader.shards()) as shards:
        for number, files in enumerate(shards):
            num_seen += len(files)
            if made is not None:
                yield made
            num_bytes = sum(len(content) for _, content in files)
            made = None
            if number >= start:
                made = StreamShard(reader.content(files, transcripts), num_bytes, False)
    if num_seen != len(transcripts):
        raise damaged(
            reader.path, f"has audio of {num_seen:,} of the {len(transcripts):,} utterances"
        )
    assert made is not None  # the stream was asked for because its last shard is missing
    yield made._replace(is_last=True)
