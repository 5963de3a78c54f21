"""Long talks, made from a seed: a user who tells facts in passing, changes some, and asks for them at the end. Pure.

A fact is told as "Remember: the KEY is VALUE.", and asked for as "What is the KEY?"; whether an answer has it is seen
by its value alone. Not here: who is asked, and with what of the talk (`run/talking.py`).
"""

import random
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from registry.bench_record import Recall, TalkWay
from router.bench.plan.texts import generator, item, prose, subject

LONG_TALK: Final = "long-talk"
TALK_LENGTHS: Final = (40, 120, 400)
"""Turns of the talks that there are scenarios for."""
TALK_ANSWER_TOKENS: Final = 24
MESSAGE_TOKENS: Final = 8
"""What a chat template adds to a message, about."""
TALK_SYSTEM: Final = "You are a helpful assistant. You answer in one short sentence."
Message = dict[str, Any]
_CHANGED_EVERY: Final = 3
"""Of the facts one is changed later."""
_LEAST_FACTS: Final = 5
_MOST_FACTS: Final = 24
_TURNS_PER_FACT: Final = 8
_FILLER_CHARS: Final = 240

_PLACES: Final = ("boathouse", "old mill", "archive", "workshop", "station", "orchard", "lighthouse", "school hall")
_NAMES: Final = ("Marit", "Odalys", "Teodor", "Ilse", "Bertil", "Nadja", "Corvin", "Esme", "Ruben", "Yrsa")
_FAMILIES: Final = ("Solberg", "Okafor", "Lindqvist", "Varga", "Moreau", "Tanaka", "Haddad", "Novak", "Quist", "Reyes")
_COLOURS: Final = ("green", "blue", "yellow", "crimson", "white", "violet", "orange", "grey")
_STUFFS: Final = ("slate", "copper", "thatch", "larch", "brick", "granite", "bamboo", "steel")
_FOLDERS: Final = ("plans", "notes", "letters", "drawings")
_SUFFIXES: Final = ("csv", "txt", "md", "pdf")


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the user tells.

    Attributes:
        key: e.g. `gate code of the old mill`; no other fact of the talk has it.
        values: As they were told, the last one counts; none is part of another one.
    """

    key: str
    values: tuple[str, ...]

    @property
    def question(self) -> str:
        """What the user asks at the end."""
        return f"What is the {self.key}? Answer with it alone."

    def told(self, index: int) -> str:
        """Return the sentence that tells a value.

        Args:
            index: Of it in `values`.
        """
        begin = "I have changed my mind. " if index else ""
        return f"{begin}Remember: the {self.key} is {self.values[index]}."

    def recall(self, answer: str) -> Recall:
        """Return what an answer says of it."""
        if _has(answer, self.values[-1]):
            return "right"
        return "outdated" if any(_has(answer, value) for value in self.values[:-1]) else "missing"


class Talk(msgspec.Struct, frozen=True, kw_only=True):
    """What the user says.

    Attributes:
        turns: In order.
        facts: Those asked for behind them, one question each.
    """

    turns: tuple[str, ...]
    facts: tuple[Fact, ...]

    @property
    def num_chars(self) -> int:
        """Of all that the user says before the questions."""
        return sum(map(len, self.turns))


def talk_of(*, seed: int, round_number: int, num_turns: int, filler_chars: int = _FILLER_CHARS) -> Talk:
    """Return a talk; facts are spread over all of it, and changed later in it.

    Args:
        num_turns: Before the questions, >= 2.
        filler_chars: Of what the user says beside facts, in each turn.
    """
    draw = generator(seed, "talk", num_turns, round_number)
    num_facts = min(max(_LEAST_FACTS, num_turns // _TURNS_PER_FACT), num_turns // 2, _MOST_FACTS)
    facts = _facts(draw, num_facts)
    said: dict[int, list[str]] = {}
    for fact in facts:
        places = sorted(draw.sample(range(num_turns), len(fact.values)))
        for index, place in enumerate(places):
            said.setdefault(place, []).append(fact.told(index))
    turns = tuple(" ".join([_filler(draw, filler_chars), *said.get(number, [])]) for number in range(num_turns))
    return Talk(turns=turns, facts=facts)


def ways_of(
    talk: Talk, *, is_foreign: bool, context_length: int | None, chars_of: Callable[[int], int]
) -> tuple[TalkWay, ...]:
    """Return in which ways a talk can be held with a contestant: winding is ours, and the whole talk has to fit.

    Args:
        context_length: None = not known.
        chars_of: How many characters of prose have so many tokens.
    """
    ways: tuple[TalkWay, ...] = ("truncated",) if is_foreign else ("wind", "truncated")
    text_tokens = 1000 * talk.num_chars / chars_of(1000)
    num_tokens = text_tokens + (len(talk.turns) + 2) * (2 * MESSAGE_TOKENS + TALK_ANSWER_TOKENS)
    return (*ways, "full") if context_length is not None and num_tokens <= context_length else ways


def without_oldest(messages: Sequence[Message], num_tokens: int, chars_per_token: float) -> list[Message]:
    """Return a conversation as clients cut it: the first message, and as many of the newest turns as fit.

    Args:
        messages: The system's, then by turns the user's and the assistant's, at the end the user's.
        num_tokens: That all of it may have.
    """
    first, *turns = messages
    sizes = [len(message["content"]) / chars_per_token + MESSAGE_TOKENS for message in turns]
    left = num_tokens - len(first["content"]) / chars_per_token - MESSAGE_TOKENS - sizes[-1]
    begin = len(turns) - 1
    while begin >= 2 and sizes[begin - 1] + sizes[begin - 2] <= left:  # noqa: PLR2004 - a turn and its answer
        left -= sizes[begin - 1] + sizes[begin - 2]
        begin -= 2
    return [first, *turns[begin:]]


def _filler(draw: random.Random, num_chars: int) -> str:
    return f"{prose(draw, num_chars)} What would {subject(draw)} say about {item(draw)}?"


def _facts(draw: random.Random, number: int) -> tuple[Fact, ...]:
    """Return facts of all kinds by turns; no value comes twice."""
    facts: list[Fact] = []
    keys: set[str] = set()
    values: set[str] = set()
    while len(facts) < number:
        kind = _KINDS[len(facts) % len(_KINDS)]
        key, _ = kind(draw)
        if key in keys:
            key = f"{key} in year {1900 + len(facts)}"
        keys.add(key)
        wanted = 2 if len(facts) % _CHANGED_EVERY == 1 else 1
        own: list[str] = []
        while len(own) < wanted:
            _, value = kind(draw)
            if not any(_has(value, other) or _has(other, value) for other in (*values, *own)):
                own.append(value)
            elif len(values) > _MANY:
                own.append(f"{value}-{draw.randrange(10_000)}")
        values.update(own)
        facts.append(Fact(key=key, values=tuple(own)))
    return tuple(facts)


_MANY: Final = 6
"""Values after which one that is known already gets a number."""


def _name(draw: random.Random) -> tuple[str, str]:
    return f"name of the keeper of the {draw.choice(_PLACES)}", f"{draw.choice(_NAMES)} {draw.choice(_FAMILIES)}"


def _number(draw: random.Random) -> tuple[str, str]:
    return f"gate code of the {draw.choice(_PLACES)}", str(draw.randrange(2500, 10_000))


def _decision(draw: random.Random) -> tuple[str, str]:
    return f"roof that we decided on for the {draw.choice(_PLACES)}", f"{draw.choice(_COLOURS)} {draw.choice(_STUFFS)}"


def _file(draw: random.Random) -> tuple[str, str]:
    path = f"{draw.choice(_FOLDERS)}/{draw.choice(_STUFFS)}-{draw.randrange(10, 100)}.{draw.choice(_SUFFIXES)}"
    return f"file with the list for the {draw.choice(_PLACES)}", path


_KINDS: Final = (_name, _number, _decision, _file)


def _has(text: str, value: str) -> bool:
    """Whether a text has a value as words of its own."""
    return re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", text, re.IGNORECASE) is not None
