"""Names that Ollama's clients give to models: with a tag, perhaps with a host. Not here: the names' own grammar.

What such a name finds is known for all protocols (`router.models.names`). What Ollama pulls from the hub it calls
`hf.co/ORG/REPO:QUANT`; a pull of that makes `org/repo:quant` here.
"""

from typing import Final, NamedTuple

from registry.catalogue import Model
from registry.engines import EngineSetting
from registry.errors import InvalidModelNameError, ModelNotFoundError
from registry.hub.references import OLLAMA_SCHEME, HubReference, parse_ollama_name, parse_pull_reference
from registry.names import check_model_name
from registry.settings import LoadSettings
from router.errors import InvalidRequestError, MissingFieldError
from router.models.directory import ModelDirectory
from router.models.load_settings import AS_CONFIGURED
from router.models.model_request import ModelRequest
from router.models.names import LATEST
from router.models.targets import Purpose

_HUB_HOSTS: Final = ("https://hf.co/", "https://huggingface.co/", "hf.co/", "huggingface.co/")
_OWN_HOSTS: Final = ("registry.ollama.ai/library/", "registry.ollama.ai/", "library/")


class OllamaModelNotFoundError(ModelNotFoundError):
    """There is no such model, in the words that Ollama's clients look for."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.args = (f"model '{name:.200}' not found",)


def model_request_for(
    models: ModelDirectory,
    reference: str,
    engine: EngineSetting | None,
    purpose: Purpose = Purpose.GENERATE,
    load: LoadSettings = AS_CONFIGURED,
) -> ModelRequest:
    """Return what a request asks for; arguments and errors as in `ModelDirectory.model_request`.

    Raises:
        OllamaModelNotFoundError: There is no such model.
    """
    try:
        return models.model_request(reference, engine, purpose, load)
    except ModelNotFoundError:
        raise OllamaModelNotFoundError(reference) from None
    except InvalidModelNameError:
        if "@" in reference:
            raise
        raise OllamaModelNotFoundError(reference) from None


def model_named(models: ModelDirectory, reference: str) -> Model:
    """Return a model by any of its names; errors as in `model_request_for`."""
    return models.get(model_request_for(models, reference, None, Purpose.DESCRIBE).model)


def display_name(name: str) -> str:
    """Return a model's name as Ollama shows it: always with a tag."""
    return name if ":" in name else name + LATEST


class PullName(NamedTuple):
    """What a name means as a pull.

    Attributes:
        called: The name that the model is to have beside its own; None when its own is the one that was asked for.
    """

    reference: str
    called: str | None


def model_of(model: str | None, name: str | None = None, *, field: str = "model") -> str:
    """Give the model that a request is about, by either of its fields.

    Raises:
        MissingFieldError: Neither is there.
    """
    wanted = (model or name or "").strip()
    if not wanted:
        raise MissingFieldError(f"The field '{field}' is required.", field)
    return wanted


def pull_name_of(text: str) -> PullName:
    """Tell what `MODEL:TAG`, `USER/MODEL:TAG` or `hf.co/ORG/REPO:QUANT` means as a pull.

    Raises:
        InvalidReferenceError: It means nothing.
    """
    host = next((host for host in _HUB_HOSTS if text.lower().startswith(host)), None)
    if host is None:
        parse_ollama_name(text)
        return PullName(f"{OLLAMA_SCHEME}{text}", None)
    # Ollama's clients add the tag to names that have none; no repository has a quantization of that name.
    path = text[len(host) :].removesuffix(LATEST)
    reference = parse_pull_reference(f"hf.co/{path}")
    assert isinstance(reference, HubReference)
    called = f"{reference.repo}:{reference.quant}".lower() if reference.quant else f"{reference.repo}{LATEST}".lower()
    try:
        return PullName(f"hf.co/{path}", check_model_name(called))
    except InvalidModelNameError:
        return PullName(f"hf.co/{path}", None)


def names_to_make(text: str) -> tuple[str, ...]:
    """Give the names under which something that is made may be there already, the name of something new last.

    Raises:
        InvalidRequestError: It is no name.
    """
    base = without_host(text)
    try:
        check_model_name(base)
        full = check_model_name(display_name(base))
    except InvalidModelNameError as exc:
        raise InvalidRequestError(f"invalid model name: {exc}", "model") from exc
    return (full.removesuffix(LATEST), full) if full.endswith(LATEST) else (full,)


def alias_meant(model: Model, text: str) -> str | None:
    """Return the other name by which a model was asked for; None when its own was meant."""
    wanted = display_name(without_host(text))
    if wanted == display_name(model.name):
        return None
    return next((alias for alias in model.aliases if display_name(alias) == wanted), None)


def without_host(text: str) -> str:
    """Take off the hosts that names may begin with."""
    base = text.strip().lower()
    host = next((host for host in (*_HUB_HOSTS, *_OWN_HOSTS) if base.startswith(host)), "")
    return base[len(host) :]
