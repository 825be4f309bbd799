"""Made-up speech in the archives that LibriSpeech distributes.

A word is spelt as it is spoken: vowels are harmonics of a voice, shaped by two formants (Peterson
and Barney, 1952, "Control methods used in a study of the vowels", table II), consonants are bands
of noise or a hum. A speaker has a pitch and a length of the vocal tract; sounds vary in length, and
there is some noise.
"""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from workloads.librispeech.frontend import SAMPLE_RATE
from workloads.librispeech.originals import PARTS

WORDS = (
    "KATO", "KIMU", "KOSE", "KUTA", "MAKI", "MESO", "MITA", "MOKU", "SATE", "SEKO",
    "SIMA", "SUMO", "TAMI", "TEKU", "TISO", "TOSA", "TUKE", "MUSI", "KESA", "SOTI",
)  # fmt: skip

_VOWELS = {"A": (730, 1090), "E": (530, 1840), "I": (270, 2290), "O": (570, 840), "U": (300, 870)}
_HUMS = {"M": (250, 1300)}
_NOISES = {"S": (6000, 1200), "T": (3700, 700), "K": (1700, 400)}  # middle and width in hertz
_VOWEL_SECONDS = (0.07, 0.12)
_CONSONANT_SECONDS = (0.04, 0.07)
_PAUSE_SECONDS = (0.03, 0.07)
_LONGEST = int(0.12 * SAMPLE_RATE)
_FADE = int(0.008 * SAMPLE_RATE)
_PER_CHAPTER = 32  # utterances of one speaker

_LOUDNESS = 3000.0  # root mean square of a vowel, of 2^15
_BACKGROUND = 30.0  # of the noise


def write_archives(
    folder: Path, num_examples: Mapping[str, int], *, num_words: tuple[int, int]
) -> None:
    """Writes an archive for each part of LibriSpeech, always the same ones for the same arguments.

    Args:
      folder: where to.
      num_examples: utterances by split; its parts share them.
      num_words: the fewest and the most words of an utterance, at most all there are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, (part, count) in enumerate(_by_part(num_examples).items()):
        rng = np.random.Generator(np.random.Philox(key=number))
        with tarfile.open(folder / f"{part}.tar.gz", "w:gz", compresslevel=0) as tar:
            for chapter, first in enumerate(range(0, count, _PER_CHAPTER)):
                size = min(_PER_CHAPTER, count - first)
                _add_chapter(tar, part, 1000 * (number + 1) + chapter, size, num_words, rng)


def _by_part(num_examples: Mapping[str, int]) -> dict[str, int]:
    counts = {}
    for split, parts in PARTS.items():
        for place, part in enumerate(parts):
            counts[part] = (num_examples[split] + len(parts) - 1 - place) // len(parts)
    return counts


def _add_chapter(
    tar: tarfile.TarFile,
    part: str,
    speaker: int,
    size: int,
    num_words: tuple[int, int],
    rng: np.random.Generator,
) -> None:
    import soundfile

    chapter = f"{speaker}-{speaker + 100_000}"
    path = f"LibriSpeech/{part}/{chapter.replace('-', '/')}"
    sounds = _sounds_of_speaker(rng)
    lines = []
    for number in range(size):
        name = f"{chapter}-{number:04d}"
        words = rng.permutation(WORDS)[: rng.integers(num_words[0], num_words[1] + 1)]
        file = io.BytesIO()
        soundfile.write(file, _spoken(words, sounds, rng), SAMPLE_RATE, "PCM_16", format="FLAC")
        _add_file(tar, f"{path}/{name}.flac", file.getvalue())
        lines.append(f"{name} {' '.join(words)}\n")
    _add_file(tar, f"{path}/{chapter}.trans.txt", "".join(lines).encode())


def _add_file(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _spoken(
    words: np.ndarray, sounds: Mapping[str, np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """The utterance as int16."""
    pieces = [_silence(rng)]
    for word in words:
        pieces += [_cut(sounds[letter], letter, rng) for letter in word]
        pieces.append(_silence(rng))
    audio = np.concatenate(pieces) * rng.uniform(0.5, 1.5)
    audio += rng.normal(scale=_BACKGROUND, size=len(audio))
    return np.clip(audio, -(2**15), 2**15 - 1).astype(np.int16)


def _silence(rng: np.random.Generator) -> np.ndarray:
    return np.zeros(int(rng.uniform(*_PAUSE_SECONDS) * SAMPLE_RATE))


def _cut(sound: np.ndarray, letter: str, rng: np.random.Generator) -> np.ndarray:
    """The beginning of a sound, of random length, faded in and out."""
    seconds = _VOWEL_SECONDS if letter in _VOWELS else _CONSONANT_SECONDS
    cut = sound[: int(rng.uniform(*seconds) * SAMPLE_RATE)].copy()
    fade = np.linspace(0, 1, _FADE)
    cut[:_FADE] *= fade
    cut[-_FADE:] *= fade[::-1]
    return cut


def _sounds_of_speaker(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Each letter's sound at its longest, spoken by a new speaker."""
    pitch, tract = rng.uniform(100, 220), rng.uniform(0.92, 1.1)
    voiced = {**_VOWELS, **_HUMS}
    sounds = {
        letter: _voice(pitch, tract * np.array(formants), rng)
        for letter, formants in voiced.items()
    }
    sounds |= {letter: _noise(*band, rng) for letter, band in _NOISES.items()}
    return sounds


def _voice(pitch: float, formants: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Harmonics of ``pitch`` up to 4 kHz, louder near the formants (hertz)."""
    frequencies = pitch * np.arange(1, int(4000 / pitch))[:, None]
    resonances = 1 / (1 + ((frequencies - formants) / 80) ** 2)  # (harmonics, formants)
    amplitudes = (resonances * (1, 0.6)).sum(axis=1, keepdims=True)
    phases = rng.uniform(0, 2 * np.pi, frequencies.shape)
    times = np.arange(_LONGEST) / SAMPLE_RATE
    return _leveled((amplitudes * np.sin(2 * np.pi * frequencies * times + phases)).sum(axis=0))


def _noise(middle: float, width: float, rng: np.random.Generator) -> np.ndarray:
    """Noise in a band of frequencies (hertz)."""
    frequencies = np.fft.rfftfreq(_LONGEST, 1 / SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.normal(size=_LONGEST))
    band = np.exp(-0.5 * ((frequencies - middle) / width) ** 2)
    return 0.5 * _leveled(np.fft.irfft(spectrum * band, _LONGEST))


def _leveled(sound: np.ndarray) -> np.ndarray:
    return sound * (_LOUDNESS / np.sqrt(np.mean(np.square(sound))))
