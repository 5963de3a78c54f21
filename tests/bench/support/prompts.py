"""Prompts that differ from round to round from their first words on, made from a seed, so that no cache knows them."""

import random
from collections.abc import Callable

_WORD_LIST = (
    "amber anchor apple autumn basket beacon bridge candle canyon castle cedar clover copper coral cotton dawn desert "
    "ember falcon feather fern forest garden glacier granite harbor hazel island ivory jasmine juniper kettle lantern "
    "lemon lily maple marble meadow mirror morning nectar needle oak ocean olive orchard otter paper pebble pepper "
    "pine planet prairie quartz rabbit raven ribbon river rose saddle saffron sailor shadow silver spruce stone storm "
    "summer sunset thistle thunder timber tulip valley velvet violet walnut water willow window winter wolf"
)
_WORDS = _WORD_LIST.split()
_SUBJECTS = ("a fox", "a sailor", "a clock", "a village", "a painter", "a river", "a teacher", "a lighthouse")
_RULES = (
    "Answer in full sentences and keep to the facts that you know about the {word}.",
    "When somebody asks about the {word}, say where it comes from and what it is good for.",
    "Never promise anything about the {word} that you cannot keep.",
    "If a question about the {word} is not clear, say what you understood and ask again.",
)
_QUESTIONS = (
    "What should I look at first?",
    "Please tell me a long story about the sea.",
    "How do I repair an old wooden chair?",
    "Which rules do you follow, and why?",
    "Describe a quiet morning in a small town.",
    "What is the difference between rain and snow?",
    "Explain how bread is made, step by step.",
    "Give me some advice for a long journey.",
)


def words(seed: int, number: int) -> str:
    """Return that many words, the same for the same seed."""
    draw = random.Random(seed)
    return " ".join(draw.choice(_WORDS) for _ in range(number))


def story_prompts(seed: int, number: int) -> list[list[dict[str, str]]]:
    """Return short chats that all differ from their first words on."""
    draw = random.Random(seed)
    return [
        [
            {
                "role": "user",
                "content": f"{draw.choice(_WORDS).capitalize()} {draw.choice(_WORDS)} {index}: write a very long story "
                f"about {_SUBJECTS[index % len(_SUBJECTS)]} and the {draw.choice(_WORDS)}, with many details.",
            }
        ]
        for index in range(number)
    ]


def text_of(seed: int, num_tokens: int, count: Callable[[str], int]) -> str:
    """Return text of that many tokens, to within one word, by the counter that is given.

    Args:
        seed: Decides the text, from its first words on.
        num_tokens: Its length.
        count: The tokens of a text.
    """
    draw = random.Random(seed)
    text = f"{words(seed, 4).capitalize()}."
    while count(text) < num_tokens:
        text += " " + draw.choice(_RULES).format(word=f"{draw.choice(_WORDS)} {draw.choice(_WORDS)}")
    while count(text) > num_tokens:
        text = text.rpartition(" ")[0]
    return text


def questions(number: int) -> list[str]:
    """Return different questions."""
    return [_QUESTIONS[index % len(_QUESTIONS)] for index in range(number)]
