"""What a name that a client writes may mean: with hosts of other tools before it, or a tag behind it. Pure.

Ollama's `NAME` and `NAME:latest` are the same model, and so they are for every protocol: clients take names from
Ollama's lists and ask for them by OpenAI's paths. Not here: the names' own grammar (`registry.names`).
"""

from collections.abc import Iterator
from typing import Final

LATEST: Final = ":latest"
_HOSTS: Final = (
    *("https://", "http://", "registry.ollama.ai/", "library/"),
    *("hf.co/", "huggingface.co/"),
)


def names_meant(reference: str) -> Iterator[str]:
    """Give the references that one may stand for, best first; in lower case, without blanks around them."""
    rest, at, engine = reference.strip().lower().partition("@")
    base, plus, adapter = rest.partition("+")
    suffix = plus + adapter + at + engine
    yield base + suffix
    for host in _HOSTS:
        if base.startswith(host):
            base = base.removeprefix(host)
            yield base + suffix
    if base.endswith(LATEST):
        yield base.removesuffix(LATEST) + suffix
