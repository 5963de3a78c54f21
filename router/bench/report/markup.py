"""Elements of HTML and SVG as escaped text: what is not an element itself is text and cannot become one. Pure."""

from html import escape
from typing import Final

from router.bench.report.amounts import plain

_VOID: Final = frozenset({"br", "link", "meta"})
"""Elements of HTML without an end tag. Source: html.spec.whatwg.org, section 13.1.2."""


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Child = Markup | str | float | None


def element(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """Make an element.

    Args:
        children: Elements, texts to be escaped, and None for nothing.
        attributes: An underscore in a name stands for a hyphen, one at its end is dropped (`class_`); None leaves the
            attribute out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    """Put elements and texts one after the other."""
    return Markup("".join(_child(child) for child in children if child is not None))


def _child(child: Markup | str | float) -> str:
    return child if isinstance(child, Markup) else escape(_text(child))


def _text(value: str | float) -> str:
    """Write a number as short as a drawing needs it, and a text without what cannot be seen."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else plain(value)
