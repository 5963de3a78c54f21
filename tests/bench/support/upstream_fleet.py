"""A simulated fleet of upstreams, each with places, a bounded cache of beginnings and one prefill at a time.

Which upstream a request goes to is decided by the product's own rule (`router.upstreams.balance`), or by one that it is
compared with. Nothing here reads a clock: equal traces give equal outcomes.
"""

import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from router.models.size import RequestSize
from router.upstreams.balance import Candidate, Homes, pick
from tests.bench.support.upstream_traces import Talk

MODEL: Final = "m"


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What each upstream can do.

    Attributes:
        parallel: Requests that have a place at a time.
        prefill_tokens_per_s: Of prompts that are not in the cache, one after another.
        token_s: For each token of an answer that is alone.
        token_s_beside: What each further answer adds to that.
        num_cache_tokens: That the cache holds.
    """

    parallel: int = 16
    prefill_tokens_per_s: float = 4000.0
    token_s: float = 0.015
    token_s_beside: float = 0.001
    num_cache_tokens: int = 150_000


class Cache:
    """Beginnings of prompts that an upstream still has, the longest unused go first, ends before starts."""

    def __init__(self, num_tokens: int) -> None:
        self._left = num_tokens
        self._parts: OrderedDict[int, int] = OrderedDict()

    def num_known(self, beginnings: Sequence[tuple[int, int]]) -> int:
        """Return how many tokens of a prompt are there, without a gap from its start."""
        known = 0
        for digest, num_tokens in beginnings:
            if digest not in self._parts:
                break
            known = num_tokens
        return known

    def keep(self, beginnings: Sequence[tuple[int, int]]) -> None:
        """Keep all of a prompt."""
        before = [0, *(num_tokens for _, num_tokens in beginnings)]
        for (digest, num_tokens), start in reversed(list(zip(beginnings, before, strict=False))):
            if digest not in self._parts:
                self._parts[digest] = num_tokens - start
                self._left -= num_tokens - start
            self._parts.move_to_end(digest)
        while self._left < 0:
            self._left += self._parts.popitem(last=False)[1]


class Request(msgspec.Struct, eq=False):
    """One request as it goes through the fleet; times in seconds of the trace."""

    talk: Talk
    turn: int
    at_s: float
    beginnings: tuple[tuple[int, int], ...]
    upstream: int = -1
    num_cached_tokens: int = 0
    first_token_s: float = 0.0
    end_s: float = 0.0

    @property
    def session_id(self) -> str:
        """Of its talk."""
        return str(self.talk.number)

    @property
    def num_prompt_tokens(self) -> int:
        """Of all that it sends."""
        return self.beginnings[-1][1]

    @property
    def size(self) -> RequestSize:
        """What a gateway knows of it."""
        answer = self.talk.turns[self.turn].num_answer_tokens
        return RequestSize(self.num_prompt_tokens, answer, self.beginnings)


def beginnings_of(talk: Talk, turn: int, *, with_answer: bool = False) -> tuple[tuple[int, int], ...]:
    """Return the messages of a turn's prompt, each with the tokens up to its end."""
    found = [(hash(talk.beginning), talk.num_beginning_tokens)]
    for number, each in enumerate(talk.turns[: turn + 1]):
        found.append((hash((talk.number, number, "says")), found[-1][1] + each.num_new_tokens))
        if number < turn or with_answer:
            found.append((hash((talk.number, number, "answer")), found[-1][1] + each.num_answer_tokens))
    return tuple(found)


class Upstream:
    """One of the fleet; `now` is given by whoever simulates."""

    def __init__(self, name: str, machine: Machine) -> None:
        self.name = name
        self.machine = machine
        self.cache = Cache(machine.num_cache_tokens)
        self.waiting: deque[Request] = deque()
        self.to_prefill: deque[Request] = deque()
        self.is_prefilling = False
        self.num_running = 0
        self.num_given = 0

    def candidate(self) -> Candidate:
        """Return what the rule is told of it."""
        return Candidate(
            name=self.name,
            outstanding=self.num_running + len(self.waiting),
            parallel=self.machine.parallel,
            num_given=self.num_given,
        )


Choice = Callable[[Sequence[Candidate], Request], str]


def round_robin() -> Choice:
    """Return the rule that takes one after another."""
    turns = itertools.count()
    return lambda candidates, _request: candidates[next(turns) % len(candidates)].name


def least_outstanding() -> Choice:
    """Return the product's rule without a memory."""
    return lambda candidates, _request: pick(candidates)


def affinity(*, by_session: bool, by_beginning: bool) -> Choice:
    """Return the product's rule with a memory of talks, of beginnings, or of both, as it is in force."""
    homes = Homes()

    def chosen(candidates: Sequence[Candidate], request: Request) -> str:
        session_id = request.session_id if by_session else None
        size = request.size if by_beginning else None
        name = pick(candidates, homes.favourites(MODEL, session_id, size))
        homes.settle(MODEL, session_id, size, name)
        return name

    return chosen


POLICIES: Final[Mapping[str, Callable[[], Choice]]] = {
    "round robin": round_robin,
    "least outstanding": least_outstanding,
    "session affinity": lambda: affinity(by_session=True, by_beginning=False),
    "prefix affinity, no session ids": lambda: affinity(by_session=False, by_beginning=True),
    "prefix and session affinity": lambda: affinity(by_session=True, by_beginning=True),
}


class Fleet:
    """Simulates a trace by events, one after another."""

    def __init__(self, num_upstreams: int, choice: Choice, machine: Machine) -> None:
        self._upstreams = [Upstream(f"u{number}", machine) for number in range(num_upstreams)]
        self._numbers = {upstream.name: number for number, upstream in enumerate(self._upstreams)}
        self._choice = choice
        self._machine = machine
        self._events: list[tuple[float, int, Callable[[float, Request], None], Request]] = []
        self._order = itertools.count()
        self._ended: list[Request] = []

    def run(self, talks: Sequence[Talk]) -> Sequence[Request]:
        """Return every request of the talks, once all have ended, by the time of their end."""
        for talk in talks:
            self._ask(talk, 0, talk.at_s)
        while self._events:
            now, _, step, request = heapq.heappop(self._events)
            step(now, request)
        return self._ended

    def _at(self, time_s: float, step: Callable[[float, Request], None], request: Request) -> None:
        heapq.heappush(self._events, (time_s, next(self._order), step, request))

    def _ask(self, talk: Talk, turn: int, at_s: float) -> None:
        self._at(at_s, self._on_asked, Request(talk, turn, at_s, beginnings_of(talk, turn)))

    def _on_asked(self, now: float, request: Request) -> None:
        name = self._choice([each.candidate() for each in self._upstreams], request)
        request.upstream = self._numbers[name]
        upstream = self._upstreams[request.upstream]
        upstream.num_given += 1
        upstream.waiting.append(request)
        self._let_in(now, upstream)

    def _let_in(self, now: float, upstream: Upstream) -> None:
        while upstream.waiting and upstream.num_running < self._machine.parallel:
            upstream.num_running += 1
            upstream.to_prefill.append(upstream.waiting.popleft())
        if upstream.to_prefill and not upstream.is_prefilling:
            upstream.is_prefilling = True
            request = upstream.to_prefill.popleft()
            request.num_cached_tokens = upstream.cache.num_known(request.beginnings)
            num_left = max(1, request.num_prompt_tokens - request.num_cached_tokens)
            self._at(now + num_left / self._machine.prefill_tokens_per_s, self._on_prefilled, request)

    def _on_prefilled(self, now: float, request: Request) -> None:
        upstream = self._upstreams[request.upstream]
        upstream.is_prefilling = False
        upstream.cache.keep(request.beginnings)
        request.first_token_s = now
        token_s = self._machine.token_s + self._machine.token_s_beside * (upstream.num_running - 1)
        self._at(now + token_s * request.talk.turns[request.turn].num_answer_tokens, self._on_ended, request)
        self._let_in(now, upstream)

    def _on_ended(self, now: float, request: Request) -> None:
        upstream = self._upstreams[request.upstream]
        upstream.num_running -= 1
        talk, turn = request.talk, request.turn
        upstream.cache.keep(beginnings_of(talk, turn, with_answer=True))
        request.end_s = now
        self._ended.append(request)
        if turn + 1 < len(talk.turns):
            self._ask(talk, turn + 1, now + talk.turns[turn + 1].pause_s)
        self._let_in(now, upstream)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy came to.

    Attributes:
        hit_rate: Share of the prompts' tokens that were in the cache.
        ttft_s: From a request to its first token: the median, the 95th and the 99th of a hundred.
        whole_p99_s: From a request to the end of its answer, the 99th of a hundred.
        crowding: How many times its share the upstream with the most requests had.
    """

    hit_rate: float
    ttft_s: tuple[float, float, float]
    whole_p99_s: float
    crowding: float


def outcome(requests: Sequence[Request], num_upstreams: int, *, warm_share: float = 0.25) -> Outcome:
    """Return figures over requests, the first of which only warm the caches."""
    counted = sorted(requests, key=lambda each: each.at_s)[int(len(requests) * warm_share) :]
    ttft = [each.first_token_s - each.at_s for each in counted]
    given = [0] * num_upstreams
    for each in counted:
        given[each.upstream] += 1
    return Outcome(
        hit_rate=sum(each.num_cached_tokens for each in counted) / sum(each.num_prompt_tokens for each in counted),
        ttft_s=(_percentile(ttft, 0.5), _percentile(ttft, 0.95), _percentile(ttft, 0.99)),
        whole_p99_s=_percentile([each.end_s - each.at_s for each in counted], 0.99),
        crowding=max(given) * num_upstreams / len(counted),
    )


def _percentile(values: Sequence[float], share: float) -> float:
    """Return the value that a share of all does not exceed, by nearest rank."""
    return sorted(values)[max(0, -(-int(share * 1000) * len(values) // 1000) - 1)]


def compared(talks: Sequence[Talk], num_upstreams: int, machine: Machine) -> Iterator[tuple[str, Outcome]]:
    """Yield each policy's name and what it came to on the same trace."""
    for name, policy in POLICIES.items():
        requests = Fleet(num_upstreams, policy(), machine).run(talks)
        yield name, outcome(requests, num_upstreams)
