from typing import Any

import pytest

from backends.wire.request import SamplingParams
from router.errors import InvalidRequestError
from router.requests.request import NUM_SEEDS
from tests.router.protocols.openai.test_request import chat, complete


def sampling(**body: Any) -> SamplingParams:
    found = chat(**body).spec.sampling
    assert complete(**body).spec.sampling == found, "both endpoints draw alike"
    return found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.25),
        ("top_p", 0.5),
        ("top_k", 7),
        ("min_p", 0.5),
        ("typical_p", 0.5),
        ("frequency_penalty", -2.0),
        ("presence_penalty", 2.0),
        ("repetition_penalty", 1.5),
        ("seed", 11),
    ],
)
def test_a_field_reaches_the_sampler_under_its_name(name: str, value: float) -> None:
    assert getattr(sampling(**{name: value}), name) == value


def test_what_means_off_or_everything() -> None:
    assert sampling(top_k=0).top_k is None
    assert sampling(seed=-1).seed == NUM_SEEDS - 1
    assert sampling().typical_p == sampling().repetition_penalty == 1.0


def test_aliases_are_the_same_field() -> None:
    assert sampling(repeat_penalty=1.2) == sampling(repetition_penalty=1.2)
    assert sampling(repeat_penalty=1.2, repetition_penalty=1.2).repetition_penalty == 1.2
    assert sampling(repetition_context_size=9) == sampling(repeat_last_n=9)
    for body, param in (
        ({"repeat_penalty": 1.2, "repetition_penalty": 1.3}, "repeat_penalty"),
        ({"repeat_last_n": 1, "repetition_context_size": 2}, "repetition_context_size"),
    ):
        with pytest.raises(InvalidRequestError, match="another name") as caught:
            chat(**body)
        assert caught.value.param == param


def test_the_window_counts_for_all_penalties_when_it_is_given() -> None:
    plain = sampling(repetition_penalty=1.2, frequency_penalty=1, presence_penalty=1)
    assert (plain.repetition_window, plain.penalty_window) == (64, None)
    some = sampling(repetition_penalty=1.2, repeat_last_n=8)
    assert (some.repetition_window, some.penalty_window) == (8, 8)
    everything = sampling(repetition_penalty=1.2, repeat_last_n=-1)
    assert (everything.repetition_window, everything.penalty_window) == (None, None)


def test_a_window_of_nothing_turns_the_penalties_off() -> None:
    off = sampling(repetition_penalty=1.2, frequency_penalty=1, presence_penalty=1, repeat_last_n=0)
    assert (off.repetition_penalty, off.frequency_penalty, off.presence_penalty) == (1.0, 0.0, 0.0)
    assert off.repetition_window is None or off.repetition_window >= 1


def test_biases_come_as_an_object_or_as_pairs() -> None:
    assert sampling(logit_bias={"5": 1, "7": -100}).logit_bias == ((5, 1.0), (7, -100.0))
    assert sampling(logit_bias=[[5, 1], [7, -100.0]]).logit_bias == ((5, 1.0), (7, -100.0))
    assert sampling(logit_bias={}).logit_bias == sampling(logit_bias=[]).logit_bias == ()
    assert len(sampling(logit_bias={str(i): 0 for i in range(1024)}).logit_bias) == 1024


@pytest.mark.parametrize(
    ("bias", "words"),
    [
        ({"x": 1}, "a token id is a whole number"),
        ({"-1": 1}, "a token id is a whole number"),
        ({"1.5": 1}, "a token id is a whole number"),
        ({"": 1}, "a token id is a whole number"),
        ({" 1": 1}, "a token id is a whole number"),
        ({"٣": 1}, "a token id is a whole number"),
        ({"9" * 5000: 1}, "a token id is a whole number"),
        ({"2147483648": 1}, "from 0 to 2147483647"),
        ({"01": 1}, "leading zeros"),
        ({"1": 100.5}, "from -100 to 100"),
        ({"1": "5"}, "a bias is a number"),
        ({"1": True}, "a bias is a number"),
        ({"1": None}, "a bias is a number"),
        ({str(i): 0 for i in range(1025)}, "at most 1024"),
        ([[1, 2, 3]], "pairs"),
        ([1, 2], "pairs"),
        ([[True, 1]], "a token id is a whole number"),
        ([["1", 1]], "a token id is a whole number"),
        ([[1, 1], [1, 2]], "twice"),
        ([[-1, 1]], "a token id is a whole number"),
    ],
)
def test_other_biases_are_refused(bias: Any, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words) as caught:
        chat(logit_bias=bias)
    assert caught.value.param == "logit_bias"
    assert len(str(caught.value)) < 200
