"""Names that Ollama's clients give to what they pull and make. Pure.

Not here: names of models that are there (`names.py`).
"""

from typing import Final, NamedTuple

from registry.catalogue import Model
from registry.errors import InvalidModelNameError
from registry.hub.references import OLLAMA_SCHEME, HubReference, parse_ollama_name, parse_pull_reference
from registry.names import check_model_name
from router.errors import InvalidRequestError, MissingFieldError
from router.protocols.ollama.names import display_name

_HUB_HOSTS: Final = ("https://hf.co/", "https://huggingface.co/", "hf.co/", "huggingface.co/")
_OWN_HOSTS: Final = ("registry.ollama.ai/library/", "registry.ollama.ai/", "library/")
_LATEST: Final = ":latest"


class PullName(NamedTuple):
    """What a name means as a pull.

    Attributes:
        called: The name that the model is to have beside its own; None when its own is the one that was asked for.
    """

    reference: str
    called: str | None


def model_of(model: str | None, name: str | None = None, *, field: str = "model") -> str:
    """Give the model that a request is about.

    Args:
        field: How the first is called, for the error.

    Raises:
        MissingFieldError: Neither is there.
    """
    wanted = (model or name or "").strip()
    if not wanted:
        raise MissingFieldError(f"The field '{field}' is required.", field)
    return wanted


def pull_name_of(text: str) -> PullName:
    """Tell what is to be pulled.

    Args:
        text: `MODEL:TAG`, `USER/MODEL:TAG` or `hf.co/ORG/REPO:QUANT`.

    Returns:
        The reference, and the name that clients go on using.

    Raises:
        InvalidReferenceError: It means nothing.
    """
    host = next((host for host in _HUB_HOSTS if text.lower().startswith(host)), None)
    if host is None:
        parse_ollama_name(text)
        return PullName(f"{OLLAMA_SCHEME}{text}", None)
    # Ollama's clients add the tag to names that have none; no repository has a quantization of that name.
    path = text[len(host) :].removesuffix(_LATEST)
    reference = parse_pull_reference(f"hf.co/{path}")
    assert isinstance(reference, HubReference)
    called = f"{reference.repo}:{reference.quant}".lower() if reference.quant else f"{reference.repo}{_LATEST}".lower()
    try:
        return PullName(f"hf.co/{path}", check_model_name(called))
    except InvalidModelNameError:
        return PullName(f"hf.co/{path}", None)


def names_to_make(text: str) -> tuple[str, ...]:
    """Give the names under which something that is made may be there already, the name of something new last.

    Args:
        text: As a client writes it: any case, perhaps without a tag.

    Raises:
        InvalidRequestError: It is no name.
    """
    base = without_host(text)
    try:
        check_model_name(base)
        full = check_model_name(display_name(base))
    except InvalidModelNameError as exc:
        raise InvalidRequestError(f"invalid model name: {exc}", "model") from exc
    return (full.removesuffix(_LATEST), full) if full.endswith(_LATEST) else (full,)


def alias_meant(model: Model, text: str) -> str | None:
    """Tell whether a model was asked for by one of its other names.

    Returns:
        That other name; None when the model's own was meant.
    """
    wanted = display_name(without_host(text))
    if wanted == display_name(model.name):
        return None
    return next((alias for alias in model.aliases if display_name(alias) == wanted), None)


def without_host(text: str) -> str:
    """Take off the hosts that names may begin with."""
    base = text.strip().lower()
    host = next((host for host in (*_HUB_HOSTS, *_OWN_HOSTS) if base.startswith(host)), "")
    return base[len(host) :]
