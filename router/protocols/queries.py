"""Parameters of queries that several endpoints have: as they are declared, and as they are read."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeVar

from msgspec import Meta

from registry.catalogue import Model
from registry.engines import LOCAL_ENGINES, EngineKind
from router.errors import InvalidRequestError, UnknownFieldError
from router.http.ignored import leave_out
from router.protocols.endpoint import Parameter
from router.protocols.parts import AnyRequest
from router.protocols.serving import RequestService

MODEL: Final = Parameter(name="model", type=str, what="Its name; without it, the one that is loaded.")
MODEL_NEEDED: Final = Parameter(name="model", type=str, what="Its name or an alias.", is_required=True)
AFTER: Final = Parameter(name="after", type=str, what="Id of the entry that the page begins behind.")
ORDER: Final = Parameter(name="order", type=Literal["asc", "desc"], what="The oldest or the newest first.")

_MAX_DIGITS: Final = 15
DefaultT = TypeVar("DefaultT")


def page_limit(most: int) -> Parameter:
    """Return the parameter of a list that says how many entries a page has."""
    return Parameter(name="limit", type=Annotated[int, Meta(ge=1, le=most)], what="Entries of the page.")


def model_in_query(parameters: Mapping[str, str]) -> str | None:
    """Return the parameter `model` of a query, or None.

    In queries a `+` that is not written `%2B` is read as a space, which no name has: `?model=NAME+ADAPTER` means what
    it says.
    """
    model = parameters.get("model")
    return None if model is None else model.replace(" ", "+")


def needed_model(request: AnyRequest, serving: RequestService) -> Model:
    """Return the model that a query names.

    Raises:
        InvalidRequestError: It names none.
        ModelNotFoundError: There is no such model, or it is not for whoever asks.
    """
    reference = model_in_query(request.query_params)
    if not reference:
        raise InvalidRequestError("model: it is missing; send ?model=NAME", "model")
    return serving.models.named(reference)


def engine_in(parameters: Mapping[str, str]) -> EngineKind | None:
    """Return the parameter `engine` of a query, or None."""
    text = parameters.get("engine")
    if text is not None and text not in set(LOCAL_ENGINES):
        raise InvalidRequestError(f"engine: {text!r:.40} is none; choose {' or '.join(LOCAL_ENGINES)}", "engine")
    return None if text is None else EngineKind(text)


def number_in(text: str, least: int, most: int) -> int | None:
    """Return the whole number that a text is; None = it is none from `least` to `most`."""
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    return int(text) if is_number and least <= int(text) <= most else None


def number_of(
    parameters: Mapping[str, str], name: str, *, least: int = 1, most: int, default: DefaultT
) -> int | DefaultT:
    """Return the whole number that a parameter is; `default` where there is none."""
    text = parameters.get(name)
    if text is None:
        return default
    number = number_in(text, least, most)
    if number is None:
        raise InvalidRequestError(f"{name}: a whole number from {least} to {most}, got {text!r:.40}", name)
    return number


def known_parameters(request: AnyRequest, *known: str) -> dict[str, str]:
    """Return the parameters of a query, of several with one name the last; one that is not known is left out."""
    given = {name: str(value) for name, value in request.query_params.items()}
    for name in [name for name in given if name not in known]:
        there_are = ", ".join(known)
        problem = f"The parameter {name!r:.60} is not known here; there are {there_are}."
        leave_out(f"?{name}", UnknownFieldError(problem, name))
        del given[name]
    return given


def limit_in(parameters: Mapping[str, str], *, most: int, default: int) -> int:
    """Return how many entries a page of a list is to have."""
    return number_of(parameters, "limit", most=most, default=default)


def is_newest_first(parameters: Mapping[str, str]) -> bool:
    """Tell in which order a list is to be; without a word, the newest comes first."""
    order = parameters.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise InvalidRequestError(f"order: {order!r:.40} is not known; send asc or desc", "order")
    return order == "desc"
