"""Models under the names that Ollama's clients use: with a tag, perhaps with a host. Not here: the names' own grammar.

Ollama's `NAME` and `NAME:latest` are the same model; so they are here, whether the registry's name has the tag or not.
What it pulls from the hub it calls `hf.co/ORG/REPO:QUANT`; a pull of that makes `org/repo:quant` here.
"""

from collections.abc import Iterator
from typing import Final

from registry.catalogue import Model
from registry.errors import InvalidModelNameError, ModelNotFoundError
from registry.settings import LoadSettings
from router.models.directory import ModelDirectory
from router.models.load_settings import AS_CONFIGURED
from router.models.targets import Purpose
from router.models.wish import Wish

LATEST: Final = ":latest"
_HOSTS: Final = ("registry.ollama.ai/", "library/", "hf.co/", "huggingface.co/")


class OllamaModelNotFoundError(ModelNotFoundError):
    """There is no such model, in the words that Ollama's clients look for."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.args = (f"model '{name:.200}' not found",)


def wish_for(
    models: ModelDirectory,
    reference: str,
    engine_header: str | None,
    purpose: Purpose = Purpose.GENERATE,
    load: LoadSettings = AS_CONFIGURED,
) -> Wish:
    """Return what a request asks for; arguments as in `ModelDirectory.wish_for`.

    Raises:
        OllamaModelNotFoundError: There is no such model.
        InvalidRequestError: An unknown engine, or two that differ.
        RegistryError: The registry cannot be read, or the name after an `@` is no engine.
    """
    for candidate in _candidates(reference):
        try:
            return models.wish_for(candidate, engine_header, purpose, load)
        except ModelNotFoundError:
            continue
        except InvalidModelNameError:
            if "@" in candidate:
                raise
    raise OllamaModelNotFoundError(reference)


def model_named(models: ModelDirectory, reference: str) -> Model:
    """Return a model by any of its names; errors as in `wish_for`."""
    return models.get(wish_for(models, reference, None, Purpose.DESCRIBE).model)


def display_name(name: str) -> str:
    """Return a model's name as Ollama shows it: always with a tag."""
    return name if ":" in name else name + LATEST


def _candidates(reference: str) -> Iterator[str]:
    """Give the names that a reference may stand for, best first."""
    base, at, engine = reference.strip().lower().partition("@")
    suffix = at + engine
    yield base + suffix
    for host in _HOSTS:
        if base.startswith(host):
            base = base.removeprefix(host)
            yield base + suffix
    if base.endswith(LATEST):
        yield base.removesuffix(LATEST) + suffix
