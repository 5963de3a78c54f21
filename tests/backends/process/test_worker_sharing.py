"""The worker as a process: what requests leave to each other, and who goes first."""

import pytest

from backends.wire.messages import Cancel, Delta, Event, Finished, Generate, Pause, Resume
from backends.wire.prompts import TextPrompt
from backends.wire.request import Priority, SequenceSpec
from tests.support.engine_driver import GREEDY
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.slow

PROMPT = "p" * 400


def generate(
    sequence_id: int, text: str, *, max_tokens: int = 4, priority: Priority = Priority.INTERACTIVE
) -> Generate:
    return Generate(sequence_id, TextPrompt(text), SequenceSpec(GREEDY, max_tokens=max_tokens, priority=priority))


def num_cached(worker: WorkerProcess, sequence_id: int) -> int:
    return worker.answer(sequence_id).end.usage.num_cached_tokens


def test_the_next_turn_of_a_chat_computes_only_what_is_new() -> None:
    with WorkerProcess("fake") as worker:
        worker.load()
        worker.send(generate(1, PROMPT))
        worker.wait_for_ends([1])
        history = PROMPT + worker.answer(1).text
        worker.send(generate(2, history + "and then?"))
        worker.wait_for_ends([2])
        assert num_cached(worker, 1) == 0
        assert num_cached(worker, 2) == len(history) - 1, "the last token was drawn and never evaluated"
        assert worker.answer(2).progress[0].num_cached == len(history) - 1, "told before anything is computed"


def test_nothing_is_kept_where_that_is_the_wish() -> None:
    with WorkerProcess("fake") as worker:
        worker.load(cache_slots=0)
        for sequence_id in (1, 2):
            worker.send(generate(sequence_id, PROMPT))
            worker.wait_for_ends([sequence_id])
        assert num_cached(worker, 2) == 0


def test_a_request_that_is_sent_again_goes_on_where_its_prefill_was_cancelled() -> None:
    with WorkerProcess("fake", prefill_s_per_token=0.002) as worker:
        worker.load(step_tokens=16)
        worker.send(generate(1, PROMPT))
        worker.wait_until(lambda: any(event.num_done >= 64 for event in worker.answer(1).progress))
        worker.send(Cancel(1))
        worker.wait_for_ends([1])
        worker.send(generate(2, PROMPT))
        worker.wait_for_ends([2])
        assert 64 <= num_cached(worker, 2) < len(PROMPT)


def test_a_burst_of_one_prompt_computes_it_once() -> None:
    with WorkerProcess("fake") as worker:
        worker.load(step_tokens=64)
        sequence_ids = list(range(1, 7))
        worker.send(*[generate(i, f"{PROMPT}question {i}") for i in sequence_ids])
        worker.wait_for_ends(sequence_ids)
        assert [num_cached(worker, i) for i in sequence_ids] == [0, *[len(PROMPT) + len("question ")] * 5]


def test_background_holds_still_while_an_interactive_request_is_served() -> None:
    with WorkerProcess("fake", decode_s=0.002) as worker:
        worker.load()
        worker.send(generate(1, "a", max_tokens=200, priority=Priority.BACKGROUND))
        worker.wait_until(lambda: worker.answer(1).num_deltas >= 3)
        worker.send(generate(2, "b", max_tokens=20))
        worker.wait_for_ends([1, 2])
        assert len(worker.answer(1).text) == 200
        ids = [event.sequence_id for event in _answers(worker.events)]
        first, last = ids.index(2), len(ids) - 1 - ids[::-1].index(2)
        assert set(ids[first : last + 1]) == {2}


def test_a_paused_request_keeps_its_place_and_its_text() -> None:
    with WorkerProcess("fake", decode_s=0.002) as worker:
        worker.load()
        worker.send(generate(1, "a", max_tokens=50))
        worker.wait_for_ends([1])
        worker.send(generate(2, "a", max_tokens=50))
        worker.wait_until(lambda: worker.answer(2).num_deltas >= 3)
        worker.send(Pause(2), generate(3, "b"))
        worker.wait_for_ends([3])
        assert not worker.answer(2).terminals
        worker.send(Resume(2))
        worker.wait_for_ends([2])
        assert worker.answer(2).text == worker.answer(1).text


def _answers(events: list[Event]) -> list[Delta | Finished]:
    return [event for event in events if isinstance(event, Delta | Finished)]
