"""Pictures in a worker on the fake engine: when the tower works, for whom, and what becomes of those who wait."""

from collections.abc import Callable
from pathlib import Path

import pytest

from backends.sequence import Tile
from backends.wire.load import LoadSpec, VisionSpec
from backends.wire.messages import Aborted, Cancel, Command, PrefillProgress, Shutdown
from tests.support.engine_driver import Answer
from tests.support.picture_driver import PictureDriver
from tests.support.tiles import SIDE, tile_of

ANSWERS = (("colour", "I see {colours}."),)
RED, BLUE, GREEN = (250, 10, 0), (0, 20, 255), (0, 240, 0)
BOTH = pytest.mark.parametrize("encodes_beside", [False, True])


def seen(answer: Answer) -> list[tuple[int, bool]]:
    """Return the pictures' tokens and whether they were cached."""
    assert all(image.original == image.seen == (SIDE, SIDE) for image in answer.end.images)
    return [(image.num_tokens, image.is_cached) for image in answer.end.images]


def cached(answer: Answer) -> int:
    return answer.end.usage.num_cached_tokens


@BOTH
class TestWhatIsSeen:
    def test_the_answer_tells_the_colours_in_their_order(self, *, encodes_beside: bool) -> None:
        driver = PictureDriver(answers=ANSWERS, encodes_beside=encodes_beside)
        answer = driver.shown("What colour is ", tile_of(RED), " and ", tile_of(BLUE), "?", max_tokens=40)
        assert answer.text == "I see red, blue."
        assert seen(answer) == [(6, False), (6, False)]
        assert answer.end.usage.num_image_tokens == 12
        assert answer.num_prompt_tokens == answer.end.usage.num_prompt_tokens == len("What colour is  and ?") + 12

    def test_progress_counts_rows(self, *, encodes_beside: bool) -> None:
        driver = PictureDriver(encodes_beside=encodes_beside)
        answer = driver.shown("ab", tile_of(RED), "c")
        assert [progress.num_done for progress in answer.progress] == [0, 2, 8, 9]
        assert all(progress.num_total == 9 for progress in answer.progress)

    def test_a_prompt_that_begins_with_a_picture_tells_that_it_was_taken_up(self, *, encodes_beside: bool) -> None:
        driver = PictureDriver(encodes_beside=encodes_beside)
        sequence_id = driver.show(tile_of(RED), "?")
        driver.step()
        assert driver.answers[sequence_id].progress == [PrefillProgress(sequence_id, 0, 7, 0)]

    def test_batched_with_text_equals_alone(self, *, encodes_beside: bool) -> None:
        prompts: list[tuple[str | Tile, ...]] = [
            ("Look: ", tile_of(RED, 20, 10), " well."),
            ("only a text of some length",),
            (tile_of(BLUE), " and ", tile_of(RED, 20, 10), "?"),
            ("x", tile_of(GREEN), "y"),
        ]
        alone = [PictureDriver().shown(*prompt, max_tokens=12).text for prompt in prompts]
        driver = PictureDriver(encodes_beside=encodes_beside)
        ids = [driver.show(*prompt, max_tokens=12) for prompt in prompts]
        driver.run()
        assert [driver.answers[sequence_id].text for sequence_id in ids] == alone
        assert driver.num_encoded == 3, "equal pictures are encoded once"


class TestCaches:
    def test_a_fork_after_the_picture_equals_fresh(self) -> None:
        driver = PictureDriver()
        first = driver.shown("Look: ", tile_of(RED), "what is it?", max_tokens=12)
        again = driver.shown("Look: ", tile_of(RED), "what is it?", max_tokens=12)
        assert again.text == first.text
        assert cached(again) == len("Look: what is it?") + 6 - 1
        assert seen(again) == [(6, True)]

    def test_another_question_computes_no_row_again(self) -> None:
        driver = PictureDriver()
        driver.shown("Look: ", tile_of(RED), "what is it?")
        other = driver.shown("Look: ", tile_of(RED), "and how large?")
        assert cached(other) == len("Look: ") + 6
        assert seen(other) == [(6, True)]
        assert driver.shown("Elsewhere: ", tile_of(RED), "?").end.images[0].is_cached, "rows are kept, too"
        assert driver.num_encoded == 1

    def test_another_picture_shares_only_the_text_before_it(self) -> None:
        driver = PictureDriver()
        driver.shown("Look: ", tile_of(RED), "what is it?")
        other = driver.shown("Look: ", tile_of(BLUE), "what is it?")
        assert cached(other) == len("Look: ")
        assert seen(other) == [(6, False)]

    def test_choices_share_picture_and_tower(self) -> None:
        driver = PictureDriver()
        ids = [driver.show("Look: ", tile_of(RED), "what is it?") for _ in range(3)]
        driver.run()
        ends = [driver.answers[sequence_id].end for sequence_id in ids]
        assert [end.usage.num_cached_tokens for end in ends] == [0, *[len("Look: what is it?") + 6 - 1] * 2]
        assert driver.num_encoded == 1

    @pytest.mark.parametrize("is_whole", [False, True])
    def test_a_saved_cache_holds_its_pictures_across_a_restart(self, tmp_path: Path, *, is_whole: bool) -> None:
        """Rows that nobody has any more are in it, and are not made again."""
        spec = LoadSpec(
            model_path="",
            vision=VisionSpec(family="llava"),
            saved_caches_dir=str(tmp_path / "saved"),
            saved_caches_max_bytes=10**6,
            saves_all_caches=True,
        )
        text = "a text that is worth a file " * 4
        driver = PictureDriver(spec)
        first = driver.shown(text, tile_of(RED), "What is it?", is_whole=is_whole)
        driver.worker._handle(Shutdown())
        driver = PictureDriver(spec)
        again = driver.shown(text, tile_of(RED), "What is that?", is_whole=is_whole)
        assert cached(again) == len(text) + 6 + len("What is ")
        assert seen(again) == [(6, True)]
        assert driver.num_encoded == 0
        driver = PictureDriver(spec)
        assert driver.shown(text, tile_of(RED), "What is it?", is_whole=is_whole).text == first.text


class Held:
    """A worker whose tower is held by a file."""

    def __init__(self, folder: Path, *, encodes_beside: bool) -> None:
        self.gate = folder / "encode"
        self.gate.touch()
        self.driver = PictureDriver(gates=str(folder), encodes_beside=encodes_beside)

    def step_with(self, command: Command, *, releases: bool = False) -> None:
        """Do a step in whose encode a command comes, and perhaps the tower's release."""
        driver, worker = self.driver, self.driver.worker

        def arrive() -> None:
            driver.channel.on_receive = None
            driver.channel.commands.append(command)
            if releases:
                self.gate.unlink()

        worker._step()
        if worker._engine.encodes_beside:
            worker._encode()
            arrive()
            worker._inbox += driver.channel.receive(0)
        else:
            driver.channel.on_receive = arrive
            worker._encode()
        assert worker._inbox == [command]
        worker._inbox = []
        driver.handle(command)


class TestTower:
    def test_other_streams_go_on_beside_it(self, tmp_path: Path) -> None:
        held = Held(tmp_path, encodes_beside=True)
        driver = held.driver
        picture = driver.show(tile_of(RED), "?")
        text = driver.show("a text", max_tokens=30)
        driver.step_until(lambda: bool(driver.answers[text].terminals))
        assert not driver.answers[picture].terminals
        held.gate.unlink()
        driver.run()
        assert driver.answers[picture].reason == "length"

    def test_other_streams_go_on_between_its_tiles(self) -> None:
        driver = PictureDriver()
        text = driver.show("a text", max_tokens=50)
        driver.step()
        driver.show(tile_of(RED), tile_of(BLUE), tile_of(GREEN), "?")
        num_before = driver.num_output_tokens(text)
        for number in (1, 2, 3):
            driver.step()
            assert driver.num_encoded == number
            assert driver.num_output_tokens(text) == num_before + number

    @BOTH
    def test_a_cancel_gives_it_up(self, tmp_path: Path, *, encodes_beside: bool) -> None:
        held = Held(tmp_path, encodes_beside=encodes_beside)
        driver = held.driver
        picture = driver.show("before ", tile_of(RED), "?")
        held.step_with(Cancel(picture))
        driver.worker._encoding.close()
        assert isinstance(driver.answers[picture].terminals[0], Aborted)
        assert held.gate.exists()
        assert driver.num_encoded == 0

    @BOTH
    def test_it_goes_on_for_another_one_who_needs_it(self, tmp_path: Path, *, encodes_beside: bool) -> None:
        held = Held(tmp_path, encodes_beside=encodes_beside)
        driver = held.driver
        first, second = driver.show("a", tile_of(RED), "?"), driver.show("b", tile_of(RED), "?")
        held.step_with(Cancel(first), releases=True)
        driver.run()
        assert isinstance(driver.answers[first].terminals[0], Aborted)
        assert driver.answers[second].reason == "length"
        assert seen(driver.answers[second]) == [(6, False)]

    @BOTH
    def test_its_failure_ends_those_who_need_it_and_nobody_else(self, *, encodes_beside: bool) -> None:
        driver = PictureDriver(encode_error="the tower fell", encodes_beside=encodes_beside)
        ids = [driver.show("Look: ", tile_of(RED), "?"), driver.show("b", tile_of(RED), "?")]
        text = driver.show("a text")
        driver.run()
        assert [driver.answers[sequence_id].failed.message for sequence_id in ids] == ["the tower fell"] * 2
        assert driver.answers[text].reason == "length"
        assert cached(driver.answer("Look: what?")) == len("Look: "), "what was computed before it is sound"

    @BOTH
    def test_exhausted_memory_in_it_is_such_a_failure(self, *, encodes_beside: bool) -> None:
        driver = PictureDriver(encodes_beside=encodes_beside)

        def encode(_tile: Tile, _should_abort: Callable[[], bool]) -> bool:
            raise MemoryError("no 16 GB")

        driver.engine.encode = encode  # type: ignore[method-assign, assignment]
        failed = driver.shown("Look: ", tile_of(RED), "?").failed
        assert failed.code == "engine_error"
        assert "no 16 GB" in failed.message
        assert driver.answer("a text").reason == "length"

    def test_the_workers_end_gives_it_up(self, tmp_path: Path) -> None:
        held = Held(tmp_path, encodes_beside=True)
        driver = held.driver
        driver.show(tile_of(RED), "?")
        driver.worker._encode()
        driver.worker._encoding.close()
        assert held.gate.exists()
        assert driver.num_encoded == 0


def test_what_was_seen_carries_the_time_that_it_took() -> None:
    now = 0.0
    driver = PictureDriver()
    driver.worker._encoding._clock = lambda: now
    encode_once = driver.engine.encode

    def encode(tile: Tile, should_abort: Callable[[], bool]) -> bool:
        nonlocal now
        now += 0.07
        return encode_once(tile, should_abort)

    driver.engine.encode = encode  # type: ignore[method-assign]
    (image,) = driver.shown(tile_of(RED), "?").end.images
    assert image.encode_ms == pytest.approx(70)
