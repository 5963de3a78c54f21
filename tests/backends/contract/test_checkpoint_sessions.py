"""What checkpoints bring to sessions on both engines: edited histories, restarts, many prompts at once."""

import copy
import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from backends.batching.checkpoints.places import GAP_TOKENS
from backends.batching.saving import Saving
from backends.saved_caches.caches import SavedCaches
from backends.wire.load import LoadSpec
from backends.wire.prompts import ChatPrompt, PromptMessage
from tests.support.bare_engine import load, text_ids
from tests.support.engine_driver import EngineDriver
from tests.support.uncuttable import WRITERS, Kind, spec_of

pytestmark = pytest.mark.slow

NUM = 12


@pytest.mark.parametrize("num_kept", [3, 1000])
def test_many_at_once_answer_as_if_each_were_alone(kind: Kind, num_kept: int) -> None:
    """Prompts that part anywhere, some cancelled, with room for a few checkpoints or for all."""
    rng = random.Random(num_kept)
    texts = [text_ids(320, seed) for seed in range(3)]
    for _ in range(12):
        like = rng.choice(texts)
        texts.append(
            [*like[: rng.randrange(200, len(like))], *text_ids(rng.randrange(20, 60), rng.randrange(99))][:440]
        )
    alone = EngineDriver(kind.engine)
    expected = [alone.answer(text, max_tokens=NUM, ignore_eos=True).token_ids for text in texts]
    driver = EngineDriver(kind.engine, keeps_ended=True)
    checkpoints = driver.batcher.checkpoints
    sequence_ids = [driver.submit(text, max_tokens=NUM, ignore_eos=True) for text in texts[:5]]
    cancelled = []
    for text in texts[5:]:
        for _ in range(rng.randrange(12)):
            driver.step()
        sequence_ids.append(driver.submit(text, max_tokens=NUM, ignore_eos=True))
        if rng.random() < 0.3:
            cancelled.append(driver.submit(text, max_tokens=NUM, ignore_eos=True))
            driver.step()
            driver.cancel(cancelled[-1])
        mean_bytes = checkpoints.book.mean_bytes
        if mean_bytes is not None:
            checkpoints._limits = dataclasses.replace(checkpoints._limits, checkpoint_bytes=num_kept * mean_bytes)
    driver.run()
    assert [driver.answers[i].token_ids for i in sequence_ids] == expected
    assert driver.batcher.counts.num_checkpoint_forks > 0
    assert (driver.batcher.counts.num_checkpoints_dropped > 0) == (num_kept == 3)
    held = {i: sorted(kind.engine.checkpoints_of(i)) for i in driver.batcher.retired_ids}
    assert held == {i: checkpoints.book.places(i) for i in driver.batcher.retired_ids}
    driver.close()


class Chat:
    """A conversation whose messages have nothing in common."""

    def __init__(self, num_turns: int) -> None:
        self.messages: list[PromptMessage] = [{"role": "system", "content": words(600, 0)}]
        for turn in range(1, num_turns + 1):
            self.messages += [{"role": "user", "content": words(300, turn)}]
            self.messages += [{"role": "assistant", "content": words(200, -turn)}]

    def prompt(self, num_messages: int, **edited: str) -> ChatPrompt:
        """Return the first messages, some of them, by index, with another text."""
        messages = copy.deepcopy(self.messages[:num_messages])
        for index, text in edited.items():
            messages[int(index.removeprefix("m"))]["content"] = text
        return ChatPrompt(messages)


def words(num: int, seed: int) -> str:
    return bytes(text_ids(num, seed)).decode()


@pytest.fixture
def wide_driver(kind: Kind, tmp_path: Path) -> Iterator[EngineDriver]:
    path = WRITERS[kind.name, kind.cache](tmp_path / "model.gguf", context_length=4096)
    engine = load(kind.name, msgspec.structs.replace(spec_of(path), context_length=4096, kv_cells=16_384))
    yield EngineDriver(engine, keeps_ended=True)
    engine.close()


def test_an_edited_conversation_begins_near_the_edit(wide_driver: EngineDriver) -> None:
    """The message that was edited and what comes after it are computed again, and no more than a gap besides."""
    driver, chat = wide_driver, Chat(4)

    def num_computed(prompt: ChatPrompt) -> int:
        answer = driver.answer(prompt, max_tokens=8, ignore_eos=True)
        usage = answer.end.usage
        return usage.num_prompt_tokens - usage.num_cached_tokens

    def num_of(*parts: int) -> int:
        return sum(parts) + 40  # what the template writes

    first = num_computed(chat.prompt(2))
    assert first > 900
    for num_turns in (2, 3, 4):
        assert num_computed(chat.prompt(2 * num_turns)) <= num_of(200, 300)
    last = {"m6": words(200, 77)}
    assert num_computed(chat.prompt(8, **last)) <= num_of(200, 300), "the last answer was edited"
    middle = {"m3": words(300, 78)}
    assert num_computed(chat.prompt(8, **middle)) <= num_of(300, 200, 300, 200, 300, GAP_TOKENS), (
        "a message of the middle"
    )
    assert num_computed(chat.prompt(4, m3=words(100, 79))) <= num_of(100, GAP_TOKENS), "cut, and another question"
    assert num_computed(chat.prompt(8)) <= 16, "the same again"
    assert num_computed(chat.prompt(2, m1=words(300, 80))) <= num_of(300), "another conversation of the same system"


def test_after_a_restart_an_edited_conversation_begins_near_the_edit(kind: Kind, tmp_path: Path) -> None:
    path = WRITERS[kind.name, kind.cache](tmp_path / "model.gguf", context_length=4096)
    spec = msgspec.structs.replace(spec_of(path), context_length=4096, kv_cells=16_384)
    chat = Chat(4)
    first = restarted(kind.name, spec, tmp_path)
    whole = first.answer(chat.prompt(6), max_tokens=8, ignore_eos=True)
    first.worker._batch.save()
    first.engine.close()
    second = restarted(kind.name, spec, tmp_path)
    usage = second.answer(chat.prompt(8, m6=words(200, 77)), max_tokens=8, ignore_eos=True).end.usage
    head = whole.end.usage.num_prompt_tokens
    assert head - 40 <= usage.num_cached_tokens <= head
    prompt = chat.prompt(2, m1=words(100, 9))
    answer = second.answer(prompt, max_tokens=NUM, ignore_eos=True)
    assert answer.end.usage.num_cached_tokens >= 600, "the system prompt's end"
    second.close()
    fresh = EngineDriver(second.engine).answer(prompt, max_tokens=NUM, ignore_eos=True)
    assert (fresh.end.usage.num_cached_tokens, fresh.token_ids) == (0, answer.token_ids)
    second.engine.close()


def restarted(name: str, spec: LoadSpec, folder: Path) -> EngineDriver:
    """Return a worker that has just loaded a model, with what was saved before."""
    driver = EngineDriver(load(name, spec), keeps_ended=True)
    saved = SavedCaches(driver.engine, folder / "saved" / "model", 1 << 30)
    driver.worker._batch.saving = Saving(driver.engine, driver.batcher, saved, saves_all=True)
    return driver
