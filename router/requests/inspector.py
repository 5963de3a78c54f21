"""The last requests as they came, to look at what a client really sends; in memory only, and off by default.

Owned by the event loop. Not here: what the model's template makes of one, which its worker is asked for when somebody
looks (`router.protocols.control.inspector`).
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from copy import copy

from msgspec.structs import replace

from registry.engines import EngineSetting
from router.config import Config
from router.http.caller import current_caller
from router.http.exchange import Account, Exchange, current_exchange
from router.requests.generation import Generation
from router.requests.request import GenerationRequest


class Inspected:
    """One request that is kept.

    Attributes:
        at: When its body had come, seconds since 1970.
        owner: Id of the key that it belongs to; None = it is the server's owner's.
        body: As it came; of a long one the beginning.
        num_bytes: Of the whole body.
        answer_id: Once it was taken in.
        wanted: What is to be generated, if that is kept; once it has ended, on the engine that served it.
        generation: What serves it, until it has ended.
        account: What it took, once it has ended; None before, and where no model served it.
    """

    def __init__(self, exchange: Exchange, client: str, raw: bytes, max_bytes: int) -> None:
        self.at = time.time()
        self.owner = current_caller().key_id
        self.client = client
        self.body = raw[:max_bytes]
        self.num_bytes = len(raw)
        self.answer_id: str | None = None
        self.wanted: GenerationRequest | None = None
        self.generation: Generation | None = None
        self.account: Account | None = None
        self.has_ended = False
        self.exchange = exchange

    @property
    def is_cut(self) -> bool:
        """Whether only the beginning of the body is kept."""
        return self.num_bytes > len(self.body)

    def is_called(self, name: str) -> bool:
        """Tell whether an id is that of its answer, or the one by which its line in the log is found."""
        return name in {self.answer_id, self.exchange.request_id}


class Inspector:
    """Keeps them.

    Args:
        config: Gives the one in force.
    """

    def __init__(self, config: Callable[[], Config]) -> None:
        self._config = config
        self._kept: deque[Inspected] = deque()

    def __iter__(self) -> Iterator[Inspected]:
        """Go through those that are for whoever asks, the newest first."""
        self.trim()
        may_see = current_caller().may_see
        return iter([each for each in reversed(self._kept) if may_see(each.owner)])

    def find(self, name: str) -> Inspected | None:
        """Return a request that is for whoever asks, by an id of its; the newest of several."""
        return next((each for each in self if each.is_called(name)), None)

    def trim(self) -> None:
        """Keep no more than the config says now."""
        while len(self._kept) > self._config().inspector.num_requests:
            self._kept.popleft()

    def on_body(self, raw: bytes, client: str) -> None:
        """Keep the request at hand, if any are kept."""
        config, exchange = self._config().inspector, current_exchange()
        if config.num_requests and exchange is not None:
            self._kept.append(Inspected(exchange, client, raw, config.max_bytes))
            self.trim()

    def on_started(self, answer_id: str, generation: Generation) -> None:
        """Note what is to be generated for the request at hand."""
        kept = self._of(current_exchange())
        if kept is not None:
            kept.answer_id = answer_id
            kept.generation = generation
            kept.wanted = None if kept.is_cut else generation.request

    def on_exchange(self, exchange: Exchange) -> None:
        """Note how a request ended, and let go of what served it."""
        kept = self._of(exchange)
        if kept is None:
            return
        kept.account = None if exchange.account is None else exchange.account()
        kept.has_ended = True
        kept.exchange = copy(exchange)
        kept.exchange.account = None  # which holds the whole answer
        choice = None if kept.generation is None else kept.generation.choice
        if kept.wanted is not None and choice is not None:
            engine = EngineSetting(str(choice.target.engine))
            kept.wanted = replace(kept.wanted, model_request=replace(kept.wanted.model_request, engine=engine))
        kept.generation = None

    def _of(self, exchange: Exchange | None) -> Inspected | None:
        return next((each for each in reversed(self._kept) if each.exchange is exchange), None)
