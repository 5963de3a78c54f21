"""What every worker that sees promises of pictures in its batch: shared beginnings, cancels, shortage, no row twice."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from backends.sequence import Tile
from backends.wire.messages import Aborted
from backends.wire.prompts import ChatPrompt, ForkPrompt, PromptMessage
from tests.backends.contract.conftest import Seeing, picture
from tests.support.engine_driver import GREEDY, Answer, EngineDriver
from tests.support.image_prompts import user

pytestmark = pytest.mark.slow

NUM_TOKENS = 12
Drive = Callable[..., EngineDriver]


@pytest.fixture
def drive(seeing: Seeing) -> Iterator[Drive]:
    """Make workers around the model, one after the other."""
    driver: EngineDriver | None = None

    def get(**options: int) -> EngineDriver:
        nonlocal driver
        if driver is not None:
            driver.close()
        driver = EngineDriver(seeing.engine, keeps_ended=True, images=seeing.prompts.processor, **options)
        return driver

    yield get
    if driver is not None:
        driver.close()


@pytest.fixture
def num_encoded(seeing: Seeing, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Count the tiles whose rows were made since then."""
    tiles: list[Tile] = []
    encode = seeing.engine.encode

    def counting(tile: Tile, should_abort: Callable[[], bool]) -> bool:
        tiles.append(tile)
        return encode(tile, should_abort)

    monkeypatch.setattr(seeing.engine, "encode", counting)
    return lambda: len(tiles)


def message(seeing: Seeing, seed: int = 1, question: str = "What is it?") -> PromptMessage:
    return user("Look: ", picture(seeing.family, seed), question, max_side=64)


def asked(seeing: Seeing, seed: int = 1, question: str = "What is it?") -> ChatPrompt:
    return ChatPrompt([message(seeing, seed, question)])


def answer(driver: EngineDriver, prompt: ChatPrompt) -> Answer:
    return driver.answer(prompt, GREEDY, max_tokens=NUM_TOKENS, ignore_eos=True)


def cached(given: Answer) -> int:
    return given.end.usage.num_cached_tokens


def start_of(seeing: Seeing) -> int:
    """Return how many tokens come before the picture."""
    return seeing.prompts.chat(message(seeing)).spans[0].start


def test_it_tells_what_was_shown(seeing: Seeing, drive: Drive) -> None:
    given = answer(drive(), asked(seeing))
    (seen,) = given.end.images
    (span,) = seeing.prompts.chat(message(seeing)).spans
    assert (seen.num_tokens, seen.is_cached) == (span.tile.size, False)
    assert given.end.usage.num_image_tokens == span.tile.size
    assert given.num_prompt_tokens == given.end.usage.num_prompt_tokens


def test_another_question_computes_no_row_again(seeing: Seeing, drive: Drive, num_encoded: Callable[[], int]) -> None:
    other = asked(seeing, question="Which colours are in it?")
    alone = answer(drive(), other)
    driver = drive()
    answer(driver, asked(seeing))
    num_before = num_encoded()
    given = answer(driver, other)
    assert given.token_ids == alone.token_ids
    assert given.text == alone.text
    assert given.end.images[0].is_cached
    assert num_encoded() == num_before
    assert cached(given) >= seeing.prompts.chat(message(seeing)).spans[0].end


def test_another_picture_shares_only_the_text_before_it(seeing: Seeing, drive: Drive) -> None:
    other = asked(seeing, 2)
    alone = answer(drive(), other)
    driver = drive()
    answer(driver, asked(seeing, 1))
    given = answer(driver, other)
    assert given.text == alone.text
    assert cached(given) == start_of(seeing)
    assert not given.end.images[0].is_cached


def test_many_at_once_give_what_each_gives_alone(seeing: Seeing, drive: Drive) -> None:
    text = ChatPrompt([{"role": "user", "content": "The quick brown fox"}])
    prompts = [asked(seeing, 1), text, asked(seeing, 2), asked(seeing, 1, "And now?"), asked(seeing, 3)]
    alone = [answer(drive(), prompt).text for prompt in prompts]
    driver = drive()
    ids = [driver.submit(prompt, GREEDY, max_tokens=NUM_TOKENS, ignore_eos=True) for prompt in prompts]
    driver.run()
    assert [driver.answers[sequence_id].text for sequence_id in ids] == alone


def test_choices_of_one_prompt_share_its_picture(seeing: Seeing, drive: Drive, num_encoded: Callable[[], int]) -> None:
    alone = answer(drive(), asked(seeing))
    driver, num_before = drive(), num_encoded()
    source = driver.submit(asked(seeing), GREEDY, max_tokens=NUM_TOKENS, ignore_eos=True)
    forks = [driver.submit(ForkPrompt(source), GREEDY, max_tokens=NUM_TOKENS, ignore_eos=True) for _ in range(2)]
    driver.run()
    assert [driver.answers[sequence_id].text for sequence_id in (source, *forks)] == [alone.text] * 3
    assert num_encoded() == num_before + 1
    assert driver.batcher.forked == forks


def test_a_conversation_keeps_its_cache_from_turn_to_turn(seeing: Seeing, drive: Drive) -> None:
    """A picture in every turn; each is made rows of once, and the last turn begins where the one before ended."""
    messages: list[PromptMessage] = []
    driver = drive()
    for seed in (1, 2, 3):
        messages.append(message(seeing, seed))
        given = answer(driver, ChatPrompt(list(messages)))
        assert [seen.is_cached for seen in given.end.images] == [True] * (seed - 1) + [False]
        messages.append({"role": "assistant", "content": given.text})
    alone = answer(drive(), ChatPrompt(messages[:-1]))
    assert given.text == alone.text
    assert given.end.usage.num_prompt_tokens - cached(given) < given.end.usage.num_prompt_tokens / 2


@pytest.mark.parametrize("num_steps", [0, 1, 2, 3])
def test_a_cancel_before_during_and_after_the_encoding_leaves_others_right(
    seeing: Seeing, drive: Drive, num_steps: int
) -> None:
    alone = answer(drive(), asked(seeing, 2))
    driver = drive()
    gone = driver.submit(asked(seeing, 1), GREEDY, max_tokens=NUM_TOKENS)
    stays = driver.submit(asked(seeing, 2), GREEDY, max_tokens=NUM_TOKENS, ignore_eos=True)
    for _ in range(num_steps):
        driver.step()
    driver.cancel(gone)
    driver.run()
    assert isinstance(driver.answers[gone].terminals[0], Aborted)
    assert driver.answers[stays].text == alone.text
    assert answer(driver, asked(seeing, 2)).text == alone.text


def test_shortage_of_cells_evicts_and_changes_no_answer(seeing: Seeing, drive: Drive) -> None:
    """As many cells as two prompts take and a part of their answers."""
    prompts, num_tokens = [asked(seeing, seed) for seed in (1, 2, 3)], 60
    wishes: dict[str, Any] = {"max_tokens": num_tokens, "ignore_eos": True}
    alone = [drive().answer(prompt, GREEDY, **wishes).text for prompt in prompts]
    num_cells = 2 * len(seeing.prompts.chat(message(seeing)).token_ids) + num_tokens
    driver = drive(context_length=num_cells, kv_cells=num_cells)
    ids = [driver.submit(prompt, GREEDY, **wishes) for prompt in prompts]
    driver.run()
    assert [driver.answers[sequence_id].text for sequence_id in ids] == alone
    assert driver.batcher.evicted
