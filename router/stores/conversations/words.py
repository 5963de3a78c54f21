"""Texts as the search sees them, and what of a text was found. Pure.

SQLite's `unicode61` takes a run of Chinese, Japanese, Korean, Thai, Lao, Khmer or Burmese for one word. Here each such
character is a word of its own, and several in a query are a phrase.
"""

import re
import unicodedata
from typing import Final

from msgspec import Struct

SNIPPET_CHARS: Final = 160
_BEFORE_CHARS: Final = 50
MAX_TERMS: Final = 32

_SPACELESS: Final = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Burmese
    "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"  # Hangul
    "\u1780-\u17ff"  # Khmer
    "\u3040-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_CHARACTER: Final = re.compile(f"([{_SPACELESS}][\u0300-\u036f\u0e31\u0e34-\u0e4e\u3099\u309a]*)")
_TERM: Final = re.compile(r'"([^"]*)"|(\S+)')


class SnippetPart(Struct, frozen=True, array_like=True):
    """A piece of a text; whether it was looked for."""

    text: str
    is_hit: bool


def spaced(text: str) -> str:
    """Return a text as it is indexed: compatible forms alike, a space round each character that is a word."""
    normal = unicodedata.normalize("NFKC", text)
    return normal if normal.isascii() else _CHARACTER.sub(r" \1 ", normal)


def terms_of(query: str) -> list[str]:
    """Return what is looked for: words, and what stands in quotes as one."""
    found = [quoted or word for quoted, word in _TERM.findall(query)]
    return [term for term in (each.strip().strip('"') for each in found) if _has_word(term)][:MAX_TERMS]


def match_for(terms: list[str]) -> str:
    """Return FTS5's expression for all of some terms; the end of a word may be missing.

    Source: sqlite.org/fts5.html, section 3: a string in double quotes, with those inside doubled, is never an operator.
    """
    return " ".join(_phrase(term) for term in terms)


def snippet_of(text: str, terms: list[str]) -> tuple[SnippetPart, ...]:
    """Return the part of a text round the first of the terms that it has, with all of them marked in it."""
    folded, places = _folded(text)
    wanted = [_folded(term)[0] for term in terms]
    first = min((at for term in wanted if (at := _place_of(folded, term, 0)) >= 0), default=0)
    begin = max(0, first - _BEFORE_CHARS)
    end = min(len(folded), begin + SNIPPET_CHARS)
    hits = sorted(_hits(folded, wanted, begin, end))
    parts: list[SnippetPart] = []
    at = begin
    for start, stop in hits:
        if start < at:
            continue
        parts += [
            SnippetPart(text[places[at] : places[start]], False),
            SnippetPart(text[places[start] : places[stop]], True),
        ]
        at = stop
    parts.append(SnippetPart(text[places[at] : places[end]], False))
    return tuple(part for part in parts if part.text)


def _phrase(term: str) -> str:
    inner = spaced(term).replace('"', '""')
    # `C++*` would be `C*`, which every word with a c has.
    return f'"{inner}"*' if unicodedata.normalize("NFKC", term).isalnum() else f'"{inner}"'


def _has_word(term: str) -> bool:
    return any(unicodedata.category(char)[0] in "LNM" for char in term)


def _folded(text: str) -> tuple[str, list[int]]:
    """Return a text without case and accents, and for each of its characters the place in the original."""
    if text.isascii():
        return text.lower(), list(range(len(text) + 1))
    chars: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text):
        for each in unicodedata.normalize("NFKD", char).casefold():
            if not unicodedata.combining(each):
                chars.append(each)
                places.append(place)
    return "".join(chars), [*places, len(text)]


def _place_of(folded: str, term: str, start: int) -> int:
    """Return where a term is, at the beginning of a word if it can be; -1 where it is not."""
    at = anywhere = folded.find(term, start) if term else -1
    while at > 0 and folded[at - 1].isalnum() and not _CHARACTER.match(folded[at]):
        at = folded.find(term, at + 1)
    return at if at >= 0 else anywhere


def _hits(folded: str, wanted: list[str], begin: int, end: int) -> list[tuple[int, int]]:
    hits = []
    for term in wanted:
        at = _place_of(folded, term, begin)
        while 0 <= at <= end - len(term):
            hits.append((at, at + len(term)))
            at = folded.find(term, at + len(term))
    return hits
