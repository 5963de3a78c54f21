"""What is asked of a simulated fleet of upstreams: talks that arrive, each with its turns, from one seed."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

Arrivals = Literal["poisson", "bursty"]

NUM_AGENTS: Final = 24
"""Kinds of agents, each with instructions and tools of its own; the n-th is used 1/n as often as the first."""
BURST_RATIO: Final = 5.0
"""How many times faster than on average talks arrive in a burst, which is a tenth of the time; half of them do so."""
BURST_TALKS: Final = 8


class Turn(msgspec.Struct, frozen=True):
    """One request of a talk.

    Attributes:
        num_new_tokens: Of what it says beyond the turns before.
        pause_s: From the end of the answer before.
    """

    num_new_tokens: int
    num_answer_tokens: int
    pause_s: float


class Talk(msgspec.Struct, frozen=True):
    """Requests one after another, each with all that came before.

    Attributes:
        at_s: When its first request comes.
        beginning: What its first message is known by, which others share.
        num_beginning_tokens: Of that message, tools included.
        number: What its other messages are known by; nobody else has them.
    """

    at_s: float
    beginning: str
    num_beginning_tokens: int
    turns: tuple[Turn, ...]
    number: int


Kind = Callable[[random.Random, float, int], Talk]


def _turns(
    rng: random.Random, num: int, says: tuple[int, int], answers: tuple[int, int], pause_s: float
) -> Iterator[Turn]:
    for _ in range(num):
        yield Turn(rng.randint(*says), rng.randint(*answers), rng.expovariate(1 / pause_s))


def agent(rng: random.Random, at_s: float, number: int) -> Talk:
    """Return an agent's talk: a long beginning that many share, many turns, tools that answer at once."""
    kinds = range(NUM_AGENTS)
    kind = rng.choices(kinds, [1 / (each + 1) for each in kinds])[0]
    turns = _turns(rng, rng.randint(4, 16), (100, 1500), (30, 200), 1.0)
    return Talk(at_s, f"agent {kind}", 6000 + 250 * kind, tuple(turns), number)


def chat(rng: random.Random, at_s: float, number: int) -> Talk:
    """Return a person's talk: a short beginning that all share, and pauses to read and write."""
    return Talk(at_s, "chat", 300, tuple(_turns(rng, rng.randint(1, 8), (20, 300), (100, 400), 15.0)), number)


def shot(rng: random.Random, at_s: float, number: int) -> Talk:
    """Return one request about a text that nobody else has."""
    return Talk(at_s, "shot", 150, tuple(_turns(rng, 1, (500, 4000), (20, 200), 1.0)), number)


def template(rng: random.Random, at_s: float, number: int) -> Talk:
    """Return one short request behind instructions that every one has: the same beginning for all of a fleet."""
    return Talk(at_s, "template", 3000, tuple(_turns(rng, 1, (50, 500), (50, 200), 1.0)), number)


class Mix(msgspec.Struct, frozen=True):
    """Which talks come.

    Attributes:
        shares: Of each kind among the talks.
        talks_per_s: That come for each upstream.
    """

    shares: Mapping[str, float]
    talks_per_s: float


KINDS: Final[Mapping[str, Kind]] = {"agents": agent, "chats": chat, "shots": shot, "templates": template}
MIXES: Final[Mapping[str, Mix]] = {
    "mixed": Mix({"agents": 0.3, "chats": 0.4, "shots": 0.3}, 0.45),
    "agents": Mix({"agents": 1.0}, 0.2),
    "chats": Mix({"chats": 1.0}, 0.6),
    "shots": Mix({"shots": 1.0}, 1.0),
    "templates": Mix({"templates": 1.0}, 3.0),
}


def talks(mix: Mix, arrivals: Arrivals, num_talks: int, num_upstreams: int, seed: int) -> Sequence[Talk]:
    """Return the talks of a trace, by their time; equal arguments make equal traces."""
    rng = random.Random(f"{seed} {arrivals} {num_talks} {num_upstreams}")
    kinds = list(mix.shares)
    times = _times(rng, arrivals, mix.talks_per_s * num_upstreams)
    return [
        KINDS[rng.choices(kinds, [mix.shares[kind] for kind in kinds])[0]](rng, next(times), number)
        for number in range(num_talks)
    ]


def _times(rng: random.Random, arrivals: Arrivals, rate: float) -> Iterator[float]:
    """Yield when talks come: at a steady rate, or half of them in bursts."""
    now = 0.0
    while True:
        if arrivals == "poisson":
            now += rng.expovariate(rate)
            yield now
            continue
        for speed, num in ((BURST_RATIO, BURST_TALKS), (1 / (2 - 1 / BURST_RATIO), BURST_TALKS)):
            for _ in range(num):
                now += rng.expovariate(rate * speed)
                yield now
