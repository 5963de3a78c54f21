"""Pictures in a worker process on the fake engine, from the file's bytes to what the end tells of it."""

import random
import signal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from backends.wire.load import VisionSpec
from backends.wire.messages import (
    Aborted,
    Answered,
    Ask,
    Cancel,
    Command,
    Finished,
    Generate,
    Heartbeat,
    Loaded,
    Pause,
    PrefillProgress,
    Resume,
    Shutdown,
)
from backends.wire.prompts import ChatPrompt, ForkPrompt, ImagePart, PromptMessage, TextPart
from backends.wire.questions import RestoreCache, SaveCache
from backends.wire.request import SamplingParams, SequenceSpec
from tests.support import tiny_projector
from tests.support.engine_driver import GREEDY, Answer
from tests.support.image_prompts import png
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.slow

ANSWERS = [["colour", "I see {colours}."]]
RED, BLUE, GREEN = (250, 10, 0), (0, 20, 255), (0, 240, 0)
FAMILIES = {"idefics3": 4000, "qwen2_vl": 400, "gemma3": 1000, "llava": 2000}
"""One whose pictures are tiles, one of positions in three directions, one whose pictures are whole, a plain one; and
how many tokens hold two small pictures and some text."""


def vision_of(family: str) -> VisionSpec:
    return VisionSpec(
        family=family,
        projector_metadata=tiny_projector.metadata_of(family),
        text_width=tiny_projector.TEXT_WIDTH,
        fingerprint="test",
    )


def picture(colour: tuple[int, int, int], width: int = 640, height: int = 480) -> ImagePart:
    return ImagePart(png(np.full((height, width, 3), colour, np.uint8)), "messages")


def user(*parts: str | ImagePart) -> PromptMessage:
    return {"role": "user", "content": [TextPart(part) if isinstance(part, str) else part for part in parts]}


def generate(
    sequence_id: int, *messages: PromptMessage, context_ids: list[int] | None = None, wants_ids: bool = False
) -> Generate:
    prompt = ChatPrompt(list(messages), context_ids=context_ids or [])
    return Generate(sequence_id, prompt, SequenceSpec(GREEDY, 40, wants_token_ids=wants_ids))


def started(worker: WorkerProcess, family: str = "llava", **spec: Any) -> WorkerProcess:
    assert isinstance(worker.load(vision=vision_of(family), **spec), Loaded)
    return worker


def asked(worker: WorkerProcess, message: Generate) -> Answer:
    worker.send(message)
    worker.wait_for_ends([message.sequence_id])
    return worker.answer(message.sequence_id)


def is_cached(answer: Answer) -> list[bool]:
    return [image.is_cached for image in answer.end.images]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("encodes_beside", [False, True])
def test_pictures_of_every_family_are_shown_and_shown_again(family: str, *, encodes_beside: bool) -> None:
    question = user("What colour are ", picture(RED, 1300, 700), " and ", picture(BLUE), "?")
    with WorkerProcess("fake", answers=ANSWERS, encodes_beside=encodes_beside) as worker:
        first = asked(started(worker, family), generate(1, question))
        assert first.text == "I see red, blue."
        assert [image.original for image in first.end.images] == [(1300, 700), (640, 480)]
        assert is_cached(first) == [False, False]
        assert first.end.usage.num_image_tokens == sum(image.num_tokens for image in first.end.images)
        said: PromptMessage = {"role": "assistant", "content": first.text}
        second = asked(worker, generate(2, question, said, user("And what colour was the first?")))
        assert second.text == first.text
        assert is_cached(second) == [True, True]
        assert second.end.usage.num_cached_tokens > first.end.usage.num_prompt_tokens


@pytest.mark.parametrize("family", FAMILIES)
def test_a_long_conversation_computes_only_what_is_new(family: str) -> None:
    """Twenty turns, a new picture in every fourth: the last one costs what a turn of texts of that length would."""
    messages: list[PromptMessage] = []
    num_known = 0
    with WorkerProcess("fake", answers=ANSWERS, encodes_beside=True, context_length=30_000) as worker:
        started(worker, family, context_length=30_000)
        for turn in range(20):
            shown = [picture((250, turn, 0), 64, 64)] if turn % 4 == 0 else []
            messages.append(user(f"What colour, in turn {turn}? ", *shown, "Say."))
            answer = asked(worker, generate(turn + 1, *messages))
            assert answer.text == f"I see {', '.join(['red'] * (turn // 4 + 1))}."
            assert is_cached(answer) == [True] * (turn // 4) + [not shown]
            assert answer.end.usage.num_cached_tokens >= num_known
            num_known = answer.end.usage.num_prompt_tokens
            messages.append({"role": "assistant", "content": answer.text})


def test_choices_see_what_the_first_one_sees() -> None:
    with WorkerProcess("fake", answers=ANSWERS) as worker:
        started(worker).send(
            generate(1, user("colour of ", picture(RED))),
            *(Generate(i, ForkPrompt(1), SequenceSpec(SamplingParams(temperature=0, seed=i), 40)) for i in (2, 3)),
        )
        worker.wait_for_ends([1, 2, 3])
        assert [worker.answer(i).text for i in (1, 2, 3)] == ["I see red."] * 3
        assert [is_cached(worker.answer(i)) for i in (1, 2, 3)] == [[False], [True], [True]]


@pytest.mark.parametrize("encodes_beside", [False, True])
def test_a_worker_whose_tower_works_shows_life_and_hears_a_cancel(tmp_path: Path, *, encodes_beside: bool) -> None:
    gate = tmp_path / "encode"
    gate.touch()
    with WorkerProcess("fake", gates=str(tmp_path), encodes_beside=encodes_beside) as worker:
        started(worker).send(generate(1, user("Look: ", picture(RED), "?")))
        worker.wait_for(PrefillProgress)
        worker.wait_for(Heartbeat)
        worker.wait_for(Heartbeat)
        worker.send(Cancel(1))
        worker.wait_for_ends([1])
        assert isinstance(worker.answer(1).terminals[0], Aborted)
        assert gate.exists()
        worker.send(generate(2, user("a text")))
        worker.wait_for_ends([2])
        worker.send(generate(3, user("Look: ", picture(RED), "?")))
        gate.unlink()
        worker.wait_for_ends([3])
        assert is_cached(worker.answer(3)) == [False]


def test_a_text_is_answered_while_the_tower_works_beside(tmp_path: Path) -> None:
    gate = tmp_path / "encode"
    gate.touch()
    with WorkerProcess("fake", gates=str(tmp_path), encodes_beside=True) as worker:
        started(worker).send(generate(1, user(picture(RED), "?")))
        worker.wait_for(PrefillProgress)
        assert asked(worker, generate(2, user("a text"))).reason == "length"
        assert not worker.answer(1).terminals
        gate.unlink()
        worker.wait_for_ends([1])


@pytest.mark.parametrize("encodes_beside", [False, True])
def test_shutdown_does_not_wait_for_the_tower(tmp_path: Path, *, encodes_beside: bool) -> None:
    (tmp_path / "encode").touch()
    with WorkerProcess("fake", gates=str(tmp_path), encodes_beside=encodes_beside) as worker:
        started(worker).send(generate(1, user(picture(RED), "?")))
        worker.wait_for(Heartbeat)
        worker.send(Shutdown())
        worker.wait_for_ends([1])
        assert worker.wait_for_exit() == 0


def test_a_gateway_that_is_gone_ends_a_worker_whose_tower_works(tmp_path: Path) -> None:
    (tmp_path / "encode").touch()
    with WorkerProcess("fake", gates=str(tmp_path), encodes_beside=True) as worker:
        started(worker).send(generate(1, user(picture(RED), "?")))
        worker.wait_for(PrefillProgress)
        worker.close_socket()
        assert worker.wait_for_exit() == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_conversation_goes_on_in_another_worker_where_it_was(tmp_path: Path, family: str) -> None:
    """Its pictures' rows are in the saved cache; its tower has nothing to do."""
    saved: dict[str, Any] = {"saved_caches_dir": str(tmp_path / "saved"), "saves_all_caches": True}
    turns = [user("Which colour has this picture, and why do you think so? ", picture(RED))]
    with WorkerProcess("fake", answers=ANSWERS) as worker:
        first = asked(started(worker, family, **saved), generate(1, *turns))
        worker.send(Shutdown())
        assert worker.wait_for_exit() == 0
    turns += [{"role": "assistant", "content": first.text}, user("And its colour again?")]
    with WorkerProcess("fake", answers=ANSWERS, encode_error="nobody needs rows") as worker:
        second = asked(started(worker, family, **saved), generate(1, *turns))
    assert second.text == "I see red."
    assert is_cached(second) == [True]
    assert second.end.usage.num_cached_tokens >= first.end.usage.num_prompt_tokens


def test_a_cache_that_a_client_has_saved_holds_its_pictures(tmp_path: Path) -> None:
    question = user("Which colour has this picture? ", picture(RED))
    with WorkerProcess("fake", answers=ANSWERS) as worker:
        first = asked(started(worker, slot_files_dir=str(tmp_path)), generate(1, question))
        worker.send(Ask(2, SaveCache(1, "name")))
        worker.wait_for(Answered)
    with WorkerProcess("fake", answers=ANSWERS, encode_error="nobody needs rows") as worker:
        started(worker, slot_files_dir=str(tmp_path)).send(Ask(1, RestoreCache("name")))
        worker.wait_for(Answered)
        again = asked(worker, generate(2, question))
    assert (again.text, is_cached(again)) == (first.text, [True])


def test_a_worker_killed_at_its_tower_costs_the_next_one_the_work_and_nothing_else(tmp_path: Path) -> None:
    gates = tmp_path / "gates"
    gates.mkdir()
    (gates / "encode").touch()
    saved: dict[str, Any] = {"saved_caches_dir": str(tmp_path / "saved"), "saves_all_caches": True}
    question = user("Which colour has this? ", picture(RED))
    with WorkerProcess("fake", gates=str(gates), encodes_beside=True) as worker:
        started(worker, **saved).send(generate(1, question))
        worker.wait_for(PrefillProgress)
        worker.process.send_signal(signal.SIGKILL)
        worker.wait_for_exit()
    with WorkerProcess("fake", answers=ANSWERS) as worker:
        answer = asked(started(worker, **saved), generate(1, question))
    assert (answer.text, is_cached(answer)) == ("I see red.", [False])


def test_the_tokens_of_an_exchange_bring_its_pictures_back_and_no_other_workers() -> None:
    with WorkerProcess("fake", answers=ANSWERS) as worker:
        first = asked(started(worker), generate(1, user("Which colour? ", picture(RED)), wants_ids=True))
        context = first.end.token_ids
        assert context is not None
        wire = msgspec.json.decode(msgspec.json.encode(context), type=list[float])
        for number, came in enumerate((context, [int(value) for value in wire]), 2):
            again = asked(worker, generate(number, user("And this colour? ", picture(BLUE)), context_ids=came))
            assert again.end.usage.num_cached_tokens >= first.end.usage.num_prompt_tokens
            assert is_cached(again) == [number > 2]
            assert again.end.usage.num_image_tokens == 2 * first.end.usage.num_image_tokens
    with WorkerProcess("fake") as worker:
        failed = asked(started(worker), generate(1, user("And now?"), context_ids=context)).failed
    assert "no longer knows" in failed.message


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("encodes_beside", [False, True])
def test_each_has_one_end_and_the_right_colours_whatever_is_interleaved(family: str, *, encodes_beside: bool) -> None:
    """Few cells and slots, so that pictures wait, are evicted, forked and shown again."""
    rng = random.Random(family)
    known = {name: picture(colour, 64, 64) for name, colour in (("red", RED), ("blue", BLUE), ("green", GREEN))}
    wanted: dict[int, str] = {}
    options: dict[str, Any] = {
        "answers": ANSWERS,
        "encode_s": 0.002,
        "decode_s": 0.0005,
        "encodes_beside": encodes_beside,
    }
    with WorkerProcess("fake", **options) as worker:
        started(
            worker,
            family,
            context_length=FAMILIES[family],
            kv_cells=FAMILIES[family] + 400,
            max_sequences=3,
            cache_slots=3,
            step_tokens=256,
        )
        for sequence_id in range(1, 41):
            names = rng.sample(sorted(known), rng.randint(0, 2))
            wanted[sequence_id] = f"I see {', '.join(names)}."
            before, after = "x" * rng.randint(0, 90), "y" * rng.randint(1, 90)
            shown = [known[name] for name in names]
            batch: list[Command] = [generate(sequence_id, user(f"{before} colour ", *shown, after))]
            for _ in range(rng.randint(0, 3)):
                target = rng.randint(1, sequence_id)
                choices: list[Command] = [Cancel(target), Pause(target), Resume(target), Resume(target)]
                batch.append(rng.choice(choices))
            worker.send(*batch)
            if rng.random() < 0.5:
                worker.next_event()
        worker.send(*[Resume(sequence_id) for sequence_id in wanted])
        worker.wait_for_ends([*wanted])
        worker.send(*[Cancel(sequence_id) for sequence_id in wanted])
        asked(worker, generate(99, user("the end")))
        for sequence_id, text in wanted.items():
            (end,) = worker.answer(sequence_id).terminals
            assert isinstance(end, Aborted) or worker.answer(sequence_id).text == text
        assert sum(isinstance(worker.answer(i).terminals[0], Finished) for i in wanted) > 10


def test_a_failing_tower_fails_its_requests_and_serves_others() -> None:
    with WorkerProcess("fake", encode_error="the tower fell", encodes_beside=True) as worker:
        started(worker).send(generate(1, user(picture(RED), "?")), generate(2, user("a text")))
        worker.wait_for_ends([1, 2])
        assert (worker.answer(1).failed.code, worker.answer(1).failed.message) == ("engine_error", "the tower fell")
        assert worker.answer(2).reason == "length"
