"""One upstream: its connections, which models it has, how it fares, and the requests that it has.

Owned by the event loop. Not here: which of several is asked (`balance`), all of them (`upstreams`).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from backends.wire.messages import Usage
from registry.threads import in_thread
from router.config import LimitsConfig
from router.config.upstreams import UpstreamConfig
from router.errors import (
    RouterError,
    ShuttingDownError,
    TooManyHopsError,
    UnavailableError,
    UpstreamBusyError,
    UpstreamError,
    UpstreamKeyError,
    UpstreamRefusedError,
    UpstreamUnreachableError,
)
from router.http.headers import HOPS_HEADER, PRIORITY_HEADER, SESSION_HEADER
from router.models.defaults import RequestDefaults
from router.models.offers import Offer
from router.models.targets import RemoteModel
from router.status.upstreams import UpstreamModelStatus, UpstreamStatus
from router.upstreams.balance import Candidate
from router.upstreams.chunks import Answer
from router.upstreams.circuit import Circuit, CircuitState
from router.upstreams.dialects import DIALECTS
from router.upstreams.fields import Honoured
from router.upstreams.keys import KeyMissingError, UpstreamKey, read_key
from router.upstreams.lane import Lane
from router.upstreams.ledger import Ledger
from router.upstreams.link import Peer, UpstreamLink
from router.upstreams.listing import Listed, honoured_by, listed, named
from router.upstreams.speed import Speed
from router.upstreams.transport import Transport
from router.workers.waiting import Ticket

logger = logging.getLogger(__name__)

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
_BUSY_S: Final = 5.0
_NOT_MEASURED: Final = Speed()
MAX_HOPS: Final = 3
"""Servers of ours that a request may have come through before it is passed on: two may name each other."""


class Upstream:
    """One entry of the config's `upstreams`.

    Args:
        environment: Where its key may be.
        limits: Gives those in force.
        defaults_for: Gives what requests for a model get that do not say otherwise.
        spawn: Runs a task until its end.
        changed: Told when it stands otherwise than before.
        ledger: Counts what it is given; None = nothing is kept.
        clock: Monotonic seconds.

    Attributes:
        no_key: Why it cannot be asked: its key is missing; None = it is there, or none is needed.
        models: What it has, by the names that they have here.
        circuit: Whether it is asked.
        lane: Its requests.
        checked_at: When its health was looked at last, seconds since 1970; None = not yet.
        num_answered: Answers that came to their end.
        num_given: Requests that it was given.
        num_failed: Requests that it failed at.
    """

    def __init__(
        self,
        config: UpstreamConfig,
        environment: Mapping[str, str],
        *,
        limits: Callable[[], LimitsConfig],
        defaults_for: Callable[[str], RequestDefaults],
        spawn: Spawn,
        changed: Callable[[UpstreamStatus], None] = lambda _status: None,
        ledger: Ledger | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self._environment = environment
        self._defaults_for = defaults_for
        self._spawn = spawn
        self._changed = changed
        self._told_state: str = CircuitState.CLOSED
        self._clock = clock
        self._dialect = DIALECTS[config.protocol]
        self._transport: Transport | None = None
        self.no_key: str | None = None
        self.models: dict[str, Listed] = named(listed(None, config))
        self.circuit = Circuit()
        self._ledger = Ledger(None) if ledger is None else ledger
        self.lane = Lane(config.parallel, limits=limits, link_for=self._link_for, begin=self._count, clock=clock)
        self.checked_at: float | None = None
        self.num_answered = 0
        self.num_failed = 0
        self.num_given = 0
        self._speeds: dict[str, Speed] = {}

    # ---- for whoever chooses ----------------------------------------------------------------------------------------

    def offer(self, model: str) -> Offer | None:
        """Return what it offers of a model; None = it does not have it."""
        found = self.models.get(model)
        if found is None:
            return None
        speed = self._speeds.get(model, _NOT_MEASURED)
        return Offer(
            upstream=self.config.name,
            model_id=found.model_id,
            honours=found.honours,
            context_length=found.context_length,
            is_auto=self.config.auto,
            why_not=self.why_not(),
            first_token_s=speed.first_token_s,
            token_s=speed.token_s,
        )

    def candidate(self) -> Candidate:
        """Return what speaks for it and against it beside others."""
        return Candidate(
            name=self.config.name,
            outstanding=self.lane.num_running + self.lane.num_waiting,
            parallel=self.config.parallel,
            weight=self.config.weight,
            has_failed=self.circuit.num_failures > 0,
            num_given=self.num_given,
        )

    def why_not(self) -> str | None:
        """Return why it is not to be asked now; None = it is."""
        if self.no_key is not None:
            return self.no_key
        now = self._clock()
        if self.circuit.may_ask(now):
            return self._ledger.why_not(self.config)
        why = self.circuit.why or "it has said that it is busy"
        wait_s = self.circuit.wait_s(now)
        return why if not wait_s else f"{why}; it is asked again in {wait_s:.0f} s"

    @property
    def state(self) -> str:
        """Where it stands, in one word of `CircuitState`."""
        return CircuitState.REFUSED if self.no_key is not None else self.circuit.state(self._clock())

    def status(self) -> UpstreamStatus:
        """Return how it stands, with all of its models."""
        used = self._ledger.used(self.config.name)
        return UpstreamStatus(
            name=self.config.name,
            url=self.config.url,
            protocol=self.config.protocol,
            state=self.state,
            is_asked=self.why_not() is None,
            why=self.no_key or self.circuit.why or self._ledger.why_not(self.config),
            wait_s=round(self.circuit.wait_s(self._clock()), 1),
            num_running=self.lane.num_running,
            num_waiting=self.lane.num_waiting,
            num_answered=self.num_answered,
            num_failed=self.num_failed,
            checked_at=self.checked_at,
            tokens_today=used.tokens,
            cost_today=round(used.cost, 6),
            max_tokens_per_day=self.config.max_tokens_per_day,
            max_cost_per_day=self.config.max_cost_per_day,
            models=[
                UpstreamModelStatus(each.name, each.model_id, each.context_length) for each in self.models.values()
            ],
        )

    def _tell(self) -> None:
        """Tell that it stands otherwise than before, if it does; that it is tried is no news."""
        state = self.state
        if state not in {self._told_state, CircuitState.TRYING}:
            self._told_state = state
            self._changed(self.status())

    # ---- its life ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look after its health and its models, until cancelled."""
        while True:
            try:
                await self._look()
            except RouterError as exc:
                self.on_error(exc)
            except Exception:  # a defect here costs the look, and not the gateway
                logger.exception("a defect has ended a look at the upstream '%s'", self.config.name)
            wait_s = self.circuit.wait_s(self._clock())
            await asyncio.sleep(min(self.config.health_interval_s, wait_s) if wait_s else self.config.health_interval_s)

    async def retire(self) -> None:
        """Close its connections, once what runs has ended."""
        try:
            await self.lane.until_idle()
        finally:
            await self.close()

    async def close(self) -> None:
        """Close its connections."""
        if self._transport is not None:
            await self._transport.close()

    async def _look(self) -> None:
        """Ask which models it has: that it answers is a sign of health."""
        if self._transport is None:
            try:
                self._transport = await in_thread(self._connect)
            except KeyMissingError as exc:
                if self.no_key is None:
                    logger.warning("the upstream '%s' cannot be asked: %s", self.config.name, exc)
                self.no_key = f"the upstream '{self.config.name}': {exc}"
                self.lane.open()
                self._tell()
                return
            self.no_key = None
            self.lane.open()
        body = await self._transport.got(self._dialect.list_path, accepts_missing=True)
        self.checked_at = time.time()
        was_asked = self.circuit.may_ask(self._clock())
        self.circuit.on_success()
        if not was_asked:
            logger.info("the upstream '%s' is there again", self.config.name)
        self._tell()
        found = named(listed(self._dialect.listing(body), self.config))
        if found != self.models:
            logger.info("the upstream '%s' has %d models", self.config.name, len(found))
            self.models = found

    def _connect(self) -> Transport:
        key: UpstreamKey = read_key(self.config, self._environment)
        return Transport(self.config, self._dialect.base_url(self.config.url), key)

    # ---- requests ---------------------------------------------------------------------------------------------------

    def _link_for(self, ticket: Ticket) -> UpstreamLink:
        """Return what serves a request.

        Raises:
            UpstreamCeilingError: It was given today what it may have.
            TooManyHopsError: It has come through too many servers of ours.
            UpstreamKeyError: It does not take our key, or there is none.
            UpstreamBusyError: It has said that it takes nothing now.
            UnavailableError: It has failed too often.
        """
        now = self._clock()
        if ticket.model_request.hops >= MAX_HOPS:
            raise TooManyHopsError(ticket.model_request.hops)
        self._ledger.check(self.config)
        why_not = self.why_not()
        if why_not is not None or self._transport is None:
            words = why_not or "it is not ready"
            prefix = f"the upstream '{self.config.name}': "
            told = words if words.startswith(prefix) else prefix + words
            if self.state == CircuitState.REFUSED:
                raise UpstreamKeyError(told)
            error = UpstreamBusyError if self.circuit.busy_s(now) else UnavailableError
            raise error(told, retry_after_s=self.circuit.wait_s(now) or None)
        source = ticket.choice.target.source
        assert isinstance(source, RemoteModel)
        self.circuit.on_asked(now)
        model = self.models.get(ticket.choice.target.model)
        fields = honoured_by(self.config) if model is None else model.honours
        size = ticket.model_request.size
        name, is_mlxr = ticket.choice.target.model, self.config.protocol == "mlxr"
        return UpstreamLink(
            Peer(
                config=self.config,
                dialect=self._dialect,
                transport=self._transport,
                model_id=source.model_id,
                honoured=Honoured(upstream=self.config.name, fields=fields, is_mlxr=is_mlxr),
                defaults=self._defaults_for(name),
                headers=_headers(ticket, is_mlxr=is_mlxr),
                results=_Results(self, name, 0 if size is None else size.num_prompt_tokens),
                spawn=self._spawn,
            ),
            clock=self._clock,
        )

    def end(self) -> None:
        """Refuse what waits, and cut what runs."""
        self.lane.end(ShuttingDownError())

    def _count(self, ticket: Ticket) -> Callable[[], None]:
        size = ticket.model_request.size
        if size is None:
            return self._ledger.begin(self.config, 0, 0)
        return self._ledger.begin(self.config, size.num_prompt_tokens, size.num_answer_tokens * ticket.num_sequences)

    def count(self, usage: Usage) -> None:
        """Count what a sequence took."""
        self._ledger.add(self.config, usage)

    def on_answered(self, model: str, answer: Answer) -> None:
        """An answer has come to its end."""
        self._speeds[model] = self._speeds.get(model, _NOT_MEASURED).after(answer)
        self.num_answered += 1
        self.circuit.on_success()
        self._tell()

    def on_left(self, *, has_output: bool) -> None:
        """A request was given up; that it had begun to answer is a good sign."""
        if has_output:
            self.circuit.on_success()
        else:
            self.circuit.on_left()

    def on_error(self, error: RouterError) -> None:
        """A request, or a look at its health, has ended with an error."""
        now = self._clock()
        match error:
            case UpstreamKeyError():
                self.circuit.on_refused(str(error))
            case UpstreamBusyError():
                self.circuit.on_busy(now, error.retry_after_s or _BUSY_S)
            case UpstreamRefusedError():
                self.circuit.on_success()  # it answers; what was asked is at fault
                return
            case UpstreamUnreachableError() | UpstreamError():
                self.circuit.on_failure(now, str(error))
            case _:
                self.circuit.on_left()
                return
        self.num_failed += 1
        logger.warning("%s", error)
        self._tell()


def _headers(ticket: Ticket, *, is_mlxr: bool) -> dict[str, str]:
    """Return what is sent beside the body; what only mlxr knows goes to nobody else."""
    headers = {HOPS_HEADER: str(ticket.model_request.hops + 1)}
    if is_mlxr:
        headers[PRIORITY_HEADER] = ticket.priority.value
        if ticket.session_id is not None:
            headers[SESSION_HEADER] = ticket.session_id
    return headers


class _Results:
    """Tells an upstream what came of one request, and counts what that took.

    Args:
        model: What it is called here.
        num_prompt_tokens: Of its prompt, about; counts where the upstream does not say.
    """

    def __init__(self, upstream: Upstream, model: str, num_prompt_tokens: int) -> None:
        self._upstream = upstream
        self._model = model
        self._num_prompt_tokens = num_prompt_tokens

    def on_answered(self, answer: Answer) -> None:
        """An answer has come to its end."""
        self._count(answer)
        self._upstream.on_answered(self._model, answer)

    def on_error(self, error: RouterError, answer: Answer) -> None:
        """It has ended with an error."""
        self._count(answer)
        self._upstream.on_error(error)

    def on_left(self, answer: Answer) -> None:
        """It was given up."""
        self._count(answer)
        self._upstream.on_left(has_output=answer.has_output)

    def _count(self, answer: Answer) -> None:
        if answer.usage is not None:
            self._upstream.count(answer.usage)
        elif answer.has_output:
            self._upstream.count(Usage(self._num_prompt_tokens, 0, answer.num_chunks))
