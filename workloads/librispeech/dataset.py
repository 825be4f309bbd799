"""LibriSpeech as a data set: preparation and opening.

As in AlgoPerf, training is on all 960 hours, validation on dev-clean and dev-other, test on
test-clean; utterances of more than 20 s are left out, and those whose transcript has more than 256
characters. The vocabulary is made of the transcripts of train-clean-100, in the order of their
names; AlgoPerf takes them in whatever order the disk lists them, so its pieces may differ.

Fields of an example: ``inputs``, 16 kHz samples as int16, filled up with 0; ``input_lengths``, how
many samples there are; ``targets``, the pieces of the transcript and that of its end, filled up
with 0, which is the blank of CTC and never a piece of a transcript.

Source: Panayotov, Chen, Povey and Khudanpur, 2015, "LibriSpeech: An ASR corpus based on public
domain audio books", ICASSP.
"""

import dataclasses
import shutil
import tempfile
from pathlib import Path

from finishline.data.prepared import SPLITS, Field
from finishline.data.splits import Split
from workloads.librispeech.source import UtteranceSource
from workloads.subwords import SubwordDataset


@dataclasses.dataclass(eq=False, kw_only=True)
class LibriSpeech(SubwordDataset):
    """Utterances in the prepared layout, made from the archives that LibriSpeech distributes.

    Attributes:
      evaluation_lengths: to which numbers of samples evaluation fills utterances up, ascending;
        each utterance to the first that is enough. The last is the most that an utterance has.
      max_tokens: the most pieces that a transcript has, with that of its end.
      max_characters: the most characters that a transcript has.
    """

    evaluation_lengths: tuple[int, ...]
    max_tokens: int
    max_characters: int

    @property
    def max_samples(self) -> int:
        """The most samples that an utterance has."""
        return self.evaluation_lengths[-1]

    def prepare(self, data_dir: Path, source: Path | None = None, num_workers: int = 1) -> None:
        """Makes the splits that are missing or damaged; see ``Dataset.prepare``."""
        from workloads.librispeech import originals

        missing = self.missing_splits(data_dir)
        if not missing:
            return
        given = Path(data_dir) / self.name if source is None else source
        found = originals.find(given, missing)
        if not self.vocabulary(data_dir).is_file():
            for split in SPLITS:
                shutil.rmtree(self.folder(data_dir, split), ignore_errors=True)
            vocabulary = self.vocabulary(data_dir)
            originals.make_vocabulary(found["train"], vocabulary, self.vocab_size)
        limits = originals.Limits(self.max_samples, self.max_characters, self.max_tokens)
        for split in missing:
            originals.prepare_split(
                self.folder(data_dir, split),
                found[split],
                self.vocabulary(data_dir),
                limits,
                num_workers,
            )

    def open(
        self, data_dir: Path, split: str, quirks: frozenset[str] = frozenset()
    ) -> UtteranceSource:
        """Opens one split; see ``Dataset.open``. No quirk concerns the data."""
        del quirks
        shards = Split(self.folder(data_dir, split)).arrays()
        return UtteranceSource(shards, self.evaluation_lengths, self.max_tokens)


@dataclasses.dataclass(eq=False, kw_only=True)
class FormantWords(LibriSpeech):
    """Made-up speech in the same layout; see ``workloads.librispeech.formants``."""

    def prepare(self, data_dir: Path, source: Path | None = None, num_workers: int = 1) -> None:
        """Makes up the original archives and prepares them; see ``Dataset.prepare``."""
        from workloads.librispeech import formants

        del source
        if self.is_prepared(data_dir):
            return
        with tempfile.TemporaryDirectory() as folder:
            formants.write_archives(Path(folder), self.num_examples, num_words=(1, 2))
            super().prepare(data_dir, Path(folder), num_workers)


def _fields(max_samples: int, max_tokens: int) -> dict[str, Field]:
    return {
        "inputs": Field((max_samples,), "int16"),
        "input_lengths": Field((), "int32"),
        "targets": Field((max_tokens,), "int32"),
    }


# The lengths are multiples of 640 samples, so that every stride of the models' convolutions begins
# at the same place of an utterance, whatever it is filled up to.
LIBRISPEECH = LibriSpeech(
    name="librispeech",
    num_examples={"train": 263_840, "validation": 5_348, "test": 2_472},
    fields=_fields(320_000, 256),
    origin="open: openslr.org/12, downloaded by the preparation",
    disk_bytes=106_000_000_000,
    evaluation_lengths=(80_000, 160_000, 240_000, 320_000),
    max_tokens=256,
    max_characters=256,
    vocab_size=1024,
)

LIBRISPEECH_MINI = FormantWords(
    name="librispeech_mini",
    num_examples={"train": 2048, "validation": 256, "test": 256},
    fields=_fields(16_000, 16),
    origin="generated",
    disk_bytes=48_000_000,
    evaluation_lengths=(16_000,),
    max_tokens=16,
    max_characters=16,
    vocab_size=32,
)
