"""Two made-up languages, and WMT's files with sentences in them.

Sentences say who did what to how many of what, when. The first language puts the verb at the end,
adjectives behind their nouns, and units before tens, "seven-and-twenty"; articles and adjectives
agree with the gender of the noun, and numbers agree with nothing. The second puts the verb after
the subject and has it agree with the subject's number, adjectives before nouns, tens before units,
and no genders. So a translation has to reorder, to agree, and to look words up.
"""

import io
import itertools
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np

from workloads.wmt import originals
from workloads.wmt.originals import Pair


class _Noun(NamedTuple):
    """A noun in both languages; its plural has an ending in each."""

    source: str
    target: str
    gender: int


def _lexicon(source: str, target: str) -> list[Pair]:
    return list(zip(source.split(), target.split(), strict=True))


_NOUNS = [
    _Noun(source, target, index % 2)
    for index, (source, target) in enumerate(
        _lexicon(
            "tumba kesil varot monek dulis parba gorun selat fibor natek rumol bakes",
            "house river child horse ship bird tree king stone lamp boat bell",
        )
    )
]
_ADJECTIVES = _lexicon("grul vent alp tisk morn sarf", "old red small cold quick good")
_VERBS = _lexicon("sehav trin bolug kimp fander wolit", "see carry call find paint follow")
_TIMES = _lexicon("hodi gesta morna nuk", "today yesterday tomorrow now")
_ARTICLES = ("ka", "ki")  # by gender, as the endings of adjectives are
_ENDINGS = ("o", "i")
_UNITS = ["ein", "dva", "tri", "kvar", "pen", "ses", "sep", "okt", "nau"]
_TENS = ["dek", "venti", "trenti"]
_TARGET_UNITS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TARGET_TENS = ["ten", "twenty", "thirty"]


def _number(number: int) -> Pair:
    """1 to 39 in words."""
    tens, units = divmod(number, 10)
    source = [_UNITS[units - 1]] if units else []
    target = [_TARGET_UNITS[units - 1]] if units else []
    if tens:
        source = [*source, "und"] if units else source
        source, target = [*source, _TENS[tens - 1]], [_TARGET_TENS[tens - 1], *target]
    return " ".join(source), " ".join(target)


def _noun_phrase(rng: np.random.Generator, *, is_counted: bool) -> tuple[Pair, bool]:
    """A noun with its article or number, perhaps an adjective, and whether it is plural."""
    noun = _NOUNS[rng.integers(len(_NOUNS))]
    number = int(rng.integers(1, 40)) if is_counted else int(rng.integers(1, 3))
    is_plural = number > 1
    if is_counted:
        source, target = ([words] for words in _number(number))
    else:
        source, target = [_ARTICLES[noun.gender]], ["the"]
    source.append(noun.source + ("en" if is_plural else ""))
    if rng.random() < 0.5:
        stem, word = _ADJECTIVES[rng.integers(len(_ADJECTIVES))]
        source.append(stem + _ENDINGS[noun.gender])
        target.append(word)
    target.append(noun.target + ("s" if is_plural else ""))
    return (" ".join(source), " ".join(target)), is_plural


def _sentence(rng: np.random.Generator) -> Pair:
    subject, is_plural = _noun_phrase(rng, is_counted=False)
    thing, _ = _noun_phrase(rng, is_counted=bool(rng.random() < 0.7))
    verb = _VERBS[rng.integers(len(_VERBS))]
    source = [subject[0], thing[0], verb[0], "."]
    target = [subject[1], verb[1] + ("" if is_plural else "s"), thing[1]]
    if rng.random() < 0.5:
        time = _TIMES[rng.integers(len(_TIMES))]
        source, target = [time[0], *source], [*target, time[1]]
    return " ".join(source), " ".join([*target, "."])


def sentences(seed: int) -> Iterator[Pair]:
    """Pairs of sentences, endless, no source twice."""
    rng = np.random.default_rng(seed)
    seen = set()
    while True:
        pair = _sentence(rng)
        if pair[0] not in seen:
            seen.add(pair[0])
            yield pair


def write_originals(folder: Path, num_examples: Mapping[str, int], *, seed: int = 0) -> None:
    """Writes all archives that ``workloads.wmt.originals`` looks for.

    Args:
      folder: where to.
      num_examples: pairs by split; those of training are spread over the corpora.
      seed: of the sentences.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pairs = sentences(seed)
    archives: dict[str, dict[str, str]] = {}
    for split, corpora in originals.CORPORA.items():
        share, rest = divmod(num_examples[split], len(corpora))
        for index, corpus in enumerate(corpora):
            chosen = list(itertools.islice(pairs, share + (index < rest)))
            sides = zip(originals.LANGUAGES, zip(*chosen, strict=True), strict=True)
            for language, side in sides:
                name = corpus.files[language]
                content = _sgml(side) if name.endswith(".sgm") else "".join(f"{s}\n" for s in side)
                archives.setdefault(corpus.archive, {})[name] = content
    for archive, files in archives.items():
        with tarfile.open(folder / archive, "w:gz", compresslevel=1) as tar:
            for name, content in files.items():
                encoded = content.encode()
                member = tarfile.TarInfo(f"{'dev' if name.endswith('.sgm') else 'training'}/{name}")
                member.size = len(encoded)
                tar.addfile(member, io.BytesIO(encoded))


def _sgml(sides: Sequence[str]) -> str:
    segments = "".join(f'<seg id="{i}">{escape(s)}</seg>\n' for i, s in enumerate(sides, start=1))
    return f'<srcset setid="made-up" srclang="any">\n<doc docid="1">\n{segments}</doc>\n</srcset>\n'
