"""What upstreams offer: models that other servers have. What the directory of models sees of them, and nothing of how.

Not here: the upstreams themselves (`router.upstreams`), which are imported only where the config names some.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from registry.catalogue import Model
from router.config.upstreams import UpstreamField
from router.status.upstreams import UpstreamStatus

if TYPE_CHECKING:
    from router.models.model_request import ModelRequest


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A model that an upstream has.

    Attributes:
        upstream: The upstream's name.
        model_id: What it calls the model.
        honours: Fields that it honours.
        context_length: Tokens that the model holds there; None = it does not say.
        is_auto: Whether `engine: auto` may take it where the model has files here.
        why_not: Why it is not to be asked now; None = it is.
        first_token_s: To the first token of its last answers, seconds, and `token_s` for each further one, in the mean;
            None = not measured yet.
    """

    upstream: str
    model_id: str
    honours: frozenset[UpstreamField] = frozenset()
    context_length: int | None = None
    is_auto: bool = False
    why_not: str | None = None
    first_token_s: float | None = None
    token_s: float | None = None

    def expected_s(self, num_answer_tokens: int) -> float | None:
        """Return how long an answer of so many tokens would take there, the network included; None = not measured."""
        if self.first_token_s is None or self.token_s is None:
            return None
        return self.first_token_s + num_answer_tokens * self.token_s


class Offers(Protocol):
    """All that upstreams offer now. Owned by the event loop."""

    @property
    def names(self) -> Sequence[str]:
        """The upstreams' names, as the config has them."""

    def of(self, model: str) -> Sequence[Offer]:
        """Return who has a model, in the config's order."""

    def model(self, name: str) -> Model | None:
        """Return a model that somebody has, as one without files; None = nobody has it."""

    def models(self) -> Iterable[Model]:
        """Return all of them."""

    def picked(self, offers: Sequence[Offer], request: "ModelRequest") -> Offer:
        """Return which of some offers of one model serves a request; there is one at least."""

    def status(self) -> Sequence[UpstreamStatus]:
        """Return how each upstream stands, with all of its models."""


class NoOffers:
    """There are no upstreams."""

    names: Sequence[str] = ()

    def of(self, _model: str) -> Sequence[Offer]:
        """Return nothing."""
        return ()

    def model(self, _name: str) -> None:
        """Return None."""

    def models(self) -> Iterable[Model]:
        """Return nothing."""
        return ()

    def picked(self, offers: Sequence[Offer], _request: "ModelRequest") -> Offer:
        """Return the first."""
        return offers[0]

    def status(self) -> Sequence[UpstreamStatus]:
        """Return nothing."""
        return ()
