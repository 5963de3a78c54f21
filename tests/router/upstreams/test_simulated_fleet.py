"""The simulation of `tests/bench/bench_upstream_choice.py` in small: what the rule in force is worth."""

import pytest

from tests.bench.support.upstream_fleet import POLICIES, Cache, Fleet, Machine, Outcome, outcome
from tests.bench.support.upstream_traces import MIXES, Arrivals, talks

NUM_UPSTREAMS = 4
IN_FORCE = "prefix and session affinity"


def came_to(policy: str, mix: str, arrivals: Arrivals = "poisson", talks_each: int = 12) -> Outcome:
    trace = talks(MIXES[mix], arrivals, talks_each * NUM_UPSTREAMS, NUM_UPSTREAMS, seed=1)
    requests = Fleet(NUM_UPSTREAMS, POLICIES[policy](), Machine()).run(trace)
    assert len(requests) == sum(len(talk.turns) for talk in trace), "each request ends once"
    assert all(each.at_s < each.first_token_s < each.end_s for each in requests)
    return outcome(requests, NUM_UPSTREAMS)


@pytest.mark.parametrize("arrivals", ["poisson", "bursty"])
@pytest.mark.parametrize("mix", ["mixed", "agents"])
def test_affinity_finds_no_less_in_caches_than_round_robin(mix: str, arrivals: Arrivals) -> None:
    assert came_to(IN_FORCE, mix, arrivals).hit_rate >= came_to("round robin", mix, arrivals).hit_rate


def test_a_beginning_that_all_have_makes_no_hot_spot() -> None:
    """The 99th of a hundred waited ten times as long for its first token as by the least outstanding, before."""
    affinity, least = (came_to(policy, "templates", talks_each=40) for policy in (IN_FORCE, "least outstanding"))
    assert affinity.ttft_s[2] <= 2 * least.ttft_s[2]


def test_equal_traces_come_to_the_same() -> None:
    assert came_to(IN_FORCE, "mixed") == came_to(IN_FORCE, "mixed")


def test_a_cache_forgets_ends_before_what_others_begin_with() -> None:
    cache = Cache(100)
    cache.keep(((1, 60), (2, 90)))
    cache.keep(((1, 60), (3, 90)))
    assert cache.num_known(((1, 60), (2, 90))) == 60
    assert cache.num_known(((1, 60), (3, 90))) == 90
