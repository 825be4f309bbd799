"""Made-up English of which much depends on words that came long before.

A document introduces two people, each with a trade, a town and a possession of some colour, and
then tells of them, of animals and of boxes:

- what is said of a person later agrees with the introduction, and so do the pronouns;
- verbs agree in number with their nouns, which relative clauses part from them: "the cats that the
  dog that the birds hear sees sleep";
- brackets of four kinds are closed in the order in which nesting demands it.

Names, colours and all other choices are uniform, so a model cannot guess them and must look back.
"""

import random

_WOMEN = ("Ada", "Beth", "Cleo", "Dora", "Edith", "Fay", "Gwen", "Hilda", "Iris", "June")
_MEN = ("Abel", "Boris", "Carl", "Dirk", "Egon", "Felix", "Guy", "Hugo", "Ivan", "Jack")
_TRADES = ("baker", "clerk", "dentist", "farmer", "judge", "miller", "nurse", "painter", "smith")
_TOWNS = ("Arras", "Bern", "Cork", "Delft", "Essen", "Fano", "Graz", "Hull", "Ivrea", "Jena")
_COLOURS = ("black", "crimson", "drab", "fawn", "green", "hazel", "jade", "khaki", "lilac", "mauve")
_THINGS = ("anvil", "boat", "cart", "drum", "easel", "flute", "globe", "harp", "ink", "jug")
_ANIMALS = ("ant", "bear", "cat", "dog", "eel", "frog", "goat", "hen")
_SEEING = ("hear", "fear", "follow", "greet", "like", "see")
_DOING = ("bathe", "climb", "jump", "rest", "sleep", "swim")
_BRACKETS = ("()", "[]", "{}", "<>")

_NUM_SENTENCES = 7
_MOST_CLAUSES = 2
_MOST_BOXES = 2
_GOING_DEEPER = 0.55  # the probability of one more level of nesting


def document(generator: random.Random) -> str:
    """One document, of about 250 characters."""
    people = _people(generator)
    sentences = [_introduction(person) for person in people]
    kinds = [_recall, _agreement, _boxes]
    for _ in range(_NUM_SENTENCES):
        sentences.append(generator.choice(kinds)(generator, people))
    return "\n".join(sentences) + "\n"


def _people(generator: random.Random) -> list[dict[str, str]]:
    """Two people who have nothing in common but perhaps their sex."""
    columns = {
        "trade": generator.sample(_TRADES, 2),
        "town": generator.sample(_TOWNS, 2),
        "colour": generator.sample(_COLOURS, 2),
        "thing": generator.sample(_THINGS, 2),
    }
    names = generator.sample(_WOMEN + _MEN, 2)
    return [
        {"name": name, "whose": "her" if name in _WOMEN else "his"}
        | {column: drawn[i] for column, drawn in columns.items()}
        for i, name in enumerate(names)
    ]


def _introduction(person: dict[str, str]) -> str:
    return "{name} the {trade} of {town} has a {colour} {thing}.".format(**person)


def _recall(generator: random.Random, people: list[dict[str, str]]) -> str:
    person, other = generator.sample(people, 2)
    sentence = generator.choice(
        (
            "{name} took {whose} {colour} {thing} to {other}.",
            "The {thing} of the {trade} is {colour}.",
            "The {trade} {name} went home to {town}.",
            "In {town} the {trade} lost {whose} {thing}.",
        )
    )
    return sentence.format(**person, other=other["name"])


def _agreement(generator: random.Random, people: list[dict[str, str]]) -> str:
    del people
    return f"The {_clause(generator, _MOST_CLAUSES, _DOING)}."


def _clause(generator: random.Random, depth: int, verbs: tuple[str, ...]) -> str:
    """A noun, perhaps a relative clause of at most ``depth`` levels, and the noun's verb."""
    is_plural = generator.random() < 0.5
    noun, verb = generator.choice(_ANIMALS), generator.choice(verbs)
    words = [f"{noun}s" if is_plural else noun]
    if depth and generator.random() < _GOING_DEEPER:
        words.append(f"that the {_clause(generator, depth - 1, _SEEING)}")
    return " ".join([*words, verb if is_plural else f"{verb}s"])


def _boxes(generator: random.Random, people: list[dict[str, str]]) -> str:
    del people
    return f"Boxes {_nested(generator, _MOST_BOXES)}."


def _nested(generator: random.Random, depth: int) -> str:
    """Brackets of at most ``depth`` levels more than one."""
    kind = generator.choice(_BRACKETS)
    inner = ""
    while depth and generator.random() < _GOING_DEEPER:
        inner += _nested(generator, depth - 1)
    return f"{kind[0]}{inner}{kind[1]}"
