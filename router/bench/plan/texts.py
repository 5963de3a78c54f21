"""Texts for benchmarks, made from a seed: prose of this project's own, the same on every machine.

Not here: which scenario uses what (`scenarios`).
"""

import random
from typing import Final

_SUBJECTS: Final = (
    "the harbour master", "an old carpenter", "the night train", "a young botanist", "the river ferry", "a town clerk",
    "a travelling baker", "the lighthouse keeper", "the school orchestra", "a retired pilot", "the market inspector",
    "a quiet librarian", "the mountain guide", "the bridge engineer", "a patient beekeeper", "the village doctor",
)  # fmt: skip
_VERBS: Final = (
    "measured", "repaired", "described", "carried", "counted", "painted", "collected", "forgot", "discovered",
    "weighed", "borrowed", "returned", "examined", "sorted", "photographed", "replaced",
)  # fmt: skip
_OBJECTS: Final = (
    "a box of brass screws", "the ledger of the year before", "three sacks of barley", "a map of the northern shore",
    "the broken weather vane", "two dozen glass jars", "a letter without an address", "the drawings of the old mill",
    "a lantern with green panes", "the keys of the archive", "a basket of late apples", "the roof of the boathouse",
    "a collection of river stones", "the clock above the station", "a bundle of dried herbs", "the rules of a contest",
)  # fmt: skip
_CIRCUMSTANCES: Final = (
    "before the rain came", "while the others were asleep", "on the second Tuesday of the month",
    "because nobody else had the time", "after a long discussion with the neighbours", "with surprising care",
    "for the third time that week", "although the road was closed", "as the contract demanded",
    "without telling anybody", "at the far end of the valley", "in less than an hour",
)  # fmt: skip
_RESULTS: Final = (
    "The result was written down in a blue notebook.", "Nobody asked for the reason.",
    "It cost less than they had feared.", "The children watched from the wall.",
    "By the evening everything stood in its place again.", "A second attempt would have to wait until spring.",
    "The figures did not agree, so they began anew.", "That was how the custom began.",
)  # fmt: skip
_LABEL_ALPHABET: Final = "bcdfghjklmnpqrstvwz"

SCORED_TEXT: Final = (
    "A bicycle stays upright because its rider steers into each fall before it has become one. The faster the wheels "
    "turn, the smaller are the corrections, and at walking pace every beginner notices how large they have to be. "
    "Water boils at 100 degrees at the level of the sea and at about 93 degrees in a village 2,000 metres above it, "
    "which is why potatoes take longer there. In Python, a list comprehension such as [n * n for n in range(5)] gives "
    "[0, 1, 4, 9, 16]."
)
"""What every model's knowledge of language is tried on: everyday facts, numbers, a line of code."""

QUALITY_PROMPTS: Final = (
    "Explain in a few sentences why the sky is blue.",
    "Write a Python function that returns the largest of three numbers, and nothing else.",
    "Name the four seasons and one thing that people do in each of them.",
    "A train leaves at 9:40 and arrives at 11:05. How long does it take? Show the steps.",
)
"""What greedy answers are compared on."""


def generator(*parts: str | int) -> random.Random:
    """Return a source of randomness that depends on the parts only, on every machine and Python."""
    return random.Random("\x1f".join(map(str, parts)))  # noqa: S311 - texts, no secrets; a str seeds by its SHA-512


def label(draw: random.Random) -> str:
    """Return a made-up word that no other text begins with: what keeps one prompt out of another one's cache."""
    return "".join(draw.choice(_LABEL_ALPHABET) for _ in range(8))


def sentence(draw: random.Random) -> str:
    """Return one or two sentences of prose, about 20 words."""
    subject = draw.choice(_SUBJECTS)
    return (
        f"{subject[0].upper()}{subject[1:]} {draw.choice(_VERBS)} {draw.choice(_OBJECTS)} "
        f"{draw.choice(_CIRCUMSTANCES)}. {draw.choice(_RESULTS)}"
    )


def prose(draw: random.Random, num_chars: int) -> str:
    """Return whole sentences of at least `num_chars` characters, cut at the last word that fits.

    Args:
        num_chars: Its length, >= 0.
    """
    parts: list[str] = []
    length = 0
    while length < num_chars:
        parts.append(sentence(draw))
        length += len(parts[-1]) + 1
    text = " ".join(parts)
    return text if len(text) <= num_chars else text[:num_chars].rpartition(" ")[0]


def subject(draw: random.Random) -> str:
    """Return somebody to ask about."""
    return draw.choice(_SUBJECTS)


def item(draw: random.Random) -> str:
    """Return a thing to ask about."""
    return draw.choice(_OBJECTS)
