"""All upstreams that the config names: what they offer, and the requests that they have. Owned by the event loop."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any

from registry.catalogue import Model
from registry.errors import RegistryError
from router.config import CurrentConfig
from router.errors import RouterError, ShuttingDownError, UnavailableError
from router.models.defaults import RequestDefaults
from router.models.model_request import ModelRequest
from router.models.offers import Offer
from router.models.targets import Choice, RemoteModel
from router.placement.situation import WaitingRequest
from router.status.upstreams import UpstreamStatus
from router.upstreams.balance import Homes, pick
from router.upstreams.ledger import Ledger
from router.upstreams.upstream import Upstream
from router.workers.waiting import Ticket


class Upstreams:
    """What the directory of models and the supervisor see of them; `run` is their task.

    Args:
        environment: Where their keys may be.
        defaults_for: Gives what requests for a model get that do not say otherwise.
        changed: Told of each one that stands otherwise than before.
        ledger: Counts what they are given; None = nothing is kept.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        current: CurrentConfig,
        environment: Mapping[str, str],
        *,
        defaults_for: Callable[[str], RequestDefaults],
        changed: Callable[[UpstreamStatus], None] = lambda _status: None,
        ledger: Ledger | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._changed = changed
        self._ledger = Ledger(None) if ledger is None else ledger
        self._current = current
        self._environment = environment
        self._defaults_for = defaults_for
        self._clock = clock
        self._created_at = time.time()
        self._upstreams: dict[str, Upstream] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._has_ended = False
        self._homes = Homes()
        self.follow()

    # ---- what they offer (`router.models.offers.Offers`) ------------------------------------------------------------

    @property
    def names(self) -> Sequence[str]:
        """In the config's order."""
        return tuple(self._upstreams)

    def __iter__(self) -> Iterator[Upstream]:
        return iter(tuple(self._upstreams.values()))

    def of(self, model: str) -> Sequence[Offer]:
        """Return who has a model, in the config's order."""
        offers = (upstream.offer(model) for upstream in self._upstreams.values())
        return [offer for offer in offers if offer is not None]

    def model(self, name: str) -> Model | None:
        """Return a model that somebody has, as one without files."""
        return self._model(name) if any(name in each.models for each in self._upstreams.values()) else None

    def models(self) -> Iterable[Model]:
        """Return all of them, by their names."""
        return [
            self._model(name) for name in sorted({name for each in self._upstreams.values() for name in each.models})
        ]

    def picked(self, offers: Sequence[Offer], request: ModelRequest) -> Offer:
        """Return which of some offers of one model serves a request."""
        if len(offers) == 1:
            return offers[0]
        by_name = {offer.upstream: offer for offer in offers}
        candidates = [self._upstreams[name].candidate() for name in by_name]
        favourites = self._homes.favourites(request.model, request.session_id, request.size)
        return by_name[pick(candidates, favourites)]

    def status(self) -> Sequence[UpstreamStatus]:
        """Return how each stands, with all of its models."""
        return [upstream.status() for upstream in self._upstreams.values()]

    def _model(self, name: str) -> Model:
        return Model(name=name, artifacts=(), engine=None, aliases=(), created_at=self._created_at, last_used_at=None)

    # ---- requests (`router.workers.remote.RemoteServing`) -----------------------------------------------------------

    def admit(self, ticket: Ticket) -> None:
        """Give a ticket its lease once there is a place, or an error."""
        source = ticket.choice.target.source
        assert isinstance(source, RemoteModel)
        upstream = self._upstreams.get(source.upstream)
        if upstream is None:
            if not ticket.lease.done():
                ticket.lease.set_exception(UnavailableError(f"the upstream '{source.upstream}' was taken away"))
            return
        upstream.num_given += 1
        if len(self._upstreams) > 1:
            asked = ticket.model_request
            self._homes.settle(asked.model, ticket.session_id, asked.size, source.upstream)
        upstream.lane.admit(ticket)

    def resolve_again(self, resolve: Callable[[ModelRequest], Choice], submit: Callable[[Ticket], None]) -> None:
        """Follow a changed config, with all that wait."""
        for ticket in [ticket for each in self._upstreams.values() for ticket in each.lane.take_waiting()]:
            try:
                ticket.choice = resolve(ticket.model_request)
            except (RouterError, RegistryError) as exc:
                if not ticket.lease.done():
                    ticket.lease.set_exception(exc)
            else:
                submit(ticket)

    @property
    def waiting(self) -> Iterable[WaitingRequest]:
        """Those that wait."""
        return [request for each in self._upstreams.values() for request in each.lane.waiting]

    def end(self) -> None:
        """Refuse what waits, cut what runs, and take nothing new."""
        self._has_ended = True
        for upstream in self._upstreams.values():
            upstream.end()

    # ---- their life -------------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Take the config over that is in force: one that is written otherwise begins anew, its answers go on."""
        wanted = {config.name: config for config in self._current.config.upstreams}
        before = self._upstreams
        kept = {name: each for name, each in before.items() if wanted.get(name) == each.config}
        self._upstreams = {name: kept.get(name) or self._made(name, wanted) for name in wanted}
        for name, upstream in before.items():
            if name not in kept:
                self._leave(name, upstream)
        for name, upstream in self._upstreams.items():
            if name not in kept:
                self._begin(name, upstream)

    def look_now(self, name: str) -> None:
        """Look at the health of one anew, before its time."""
        look = self._looks.pop(name, None)
        if look is not None:
            look.cancel()
            self._begin(name, self._upstreams[name])

    async def run(self) -> None:
        """Look after all of them until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._ledger.run())
                for name, upstream in self._upstreams.items():
                    self._begin(name, upstream)
                await asyncio.Event().wait()
        finally:
            self._tasks = None
            self.end()
            for upstream in self._upstreams.values():
                await upstream.close()

    def _made(self, name: str, wanted: Mapping[str, Any]) -> Upstream:
        return Upstream(
            wanted[name],
            self._environment,
            limits=lambda: self._current.config.limits,
            defaults_for=self._defaults_for,
            spawn=self._spawn,
            changed=self._changed,
            ledger=self._ledger,
            clock=self._clock,
        )

    def _begin(self, name: str, upstream: Upstream) -> None:
        if self._tasks is not None:
            self._looks[name] = self._tasks.create_task(upstream.run())

    def _leave(self, name: str, upstream: Upstream) -> None:
        """Let one go that the config has no longer: those that wait find another place, or none."""
        if self._tasks is not None:
            self._tasks.create_task(upstream.retire())
        look = self._looks.pop(name, None)
        if look is not None:
            look.cancel()
        for ticket in upstream.lane.take_waiting():
            if ticket.choice.target.engine.name in self._upstreams:
                self.admit(ticket)
            elif not ticket.lease.done():
                ticket.lease.set_exception(UnavailableError(f"the upstream '{name}' was taken out of the config"))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        if self._tasks is None or self._has_ended:
            work.close()
            raise ShuttingDownError
        return self._tasks.create_task(work)
