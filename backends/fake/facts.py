"""Reads facts out of a prompt, as a model would that overlooks none: "Remember: the KEY is VALUE.".

What is found is written in the same form, so that it is found again in what was made of it.
"""

import re
from typing import Final

UNKNOWN: Final = "I do not know."
_FACT: Final = re.compile(r"Remember: the ([^?\n]+?) is ([^\n]+?)\.(?=\s|$)")
_QUESTION: Final = re.compile(r"What is the ([^?\n]+)\?")


def facts_in(prompt: str) -> str:
    """Return all that a prompt says is so, each thing as it said last, one a line."""
    known = dict(_FACT.findall(prompt))
    return "\n".join(["Facts", *(f"- Remember: the {key} is {value}." for key, value in known.items())])


def fact_asked_for(prompt: str) -> str:
    """Return what a prompt says of what it asks for last."""
    questions = _QUESTION.findall(prompt)
    return dict(_FACT.findall(prompt)).get(questions[-1], UNKNOWN) if questions else UNKNOWN
