"""Sequences with pictures among those without: who waits for rows, what stays whole, what caches begin with."""

import dataclasses

import numpy as np

from backends.batch_limits import BatchLimits
from backends.batching.needed_tiles import is_needed, next_tile
from backends.sequence import Sequence, Tile
from backends.step import StepPlan, StepResult
from backends.wire.request import Priority
from tests.support.cell_engine import Driven, sequence_of
from tests.support.tiles import ids_of, spliced, tile_of

LIMITS = BatchLimits(max_sequences=2, num_slots=8, num_cells=1000, step_tokens=50, num_retired_tokens=1000)
RED, BLUE = (255, 0, 0), (0, 0, 255)
SYSTEM = [3] * 40


def driven_of(**changed: float | bool) -> Driven:
    return Driven(dataclasses.replace(LIMITS, **changed))  # type: ignore[arg-type]


def seeing(
    sequence_id: int,
    *pieces: list[int] | Tile,
    is_whole: bool = False,
    priority: Priority = Priority.INTERACTIVE,
    num_output: int = 3,
) -> Sequence:
    token_ids, spans = spliced(*pieces, is_whole=is_whole)
    return sequence_of(sequence_id, token_ids, num_output, priority, spans=spans)


def chunks_of(plan: StepPlan) -> dict[int, tuple[int, int]]:
    return {chunk.sequence.sequence_id: (chunk.start, chunk.end) for chunk in plan.chunks}


class TestWaitingForRows:
    def test_others_go_on_while_one_waits_for_the_tower(self) -> None:
        driven = driven_of()
        driven.add(seeing(1, [1, 1], tile_of(RED), [2]))
        driven.add(sequence_of(2, [5] * 4, 3))
        assert chunks_of(driven.step()) == {1: (0, 2), 2: (0, 4)}
        assert chunks_of(driven.step()) == {2: (4, 5)}
        driven.encode()
        assert chunks_of(driven.step()) == {1: (2, 8), 2: (5, 6)}

    def test_who_waits_takes_nobodys_place(self) -> None:
        """Two may compute at once, and two wait for the tower: a third one, of text, is not held up by them."""
        driven = driven_of()
        for sequence_id, colour in ((1, RED), (2, BLUE)):
            driven.add(seeing(sequence_id, tile_of(colour), [sequence_id]))
        driven.add(sequence_of(3, [5] * 4, 3))
        assert chunks_of(driven.step()) == {3: (0, 4)}

    def test_no_more_compute_at_once_when_rows_have_come(self) -> None:
        driven = driven_of()
        for sequence_id in (1, 2, 3):
            driven.add(seeing(sequence_id, tile_of((sequence_id, 0, 0)), [1], num_output=30))
        for _ in range(3):
            driven.step()
            driven.encode()
        assert set(chunks_of(driven.step())) == {1, 2}
        driven.run()
        assert sorted(driven.done) == [1, 2, 3]

    def test_equal_pictures_are_encoded_once_and_told_to_all_who_waited(self) -> None:
        driven = driven_of()
        tile = tile_of(RED)
        first, second = driven.add(seeing(1, [1], tile, [2])), driven.add(seeing(2, [7], tile, [2]))
        driven.run()
        assert driven.encoded == [tile]
        assert first.encode_ms == second.encode_ms == {tile.digest: 1.0}

    def test_a_removed_sequence_wants_no_rows(self) -> None:
        driven = driven_of()
        tile = tile_of(RED)
        driven.add(seeing(1, tile, [2]))
        driven.step()
        assert driven.batcher.awaiting_ids(tile) == {1}
        driven.end(1)
        assert driven.batcher.awaiting_ids(tile) == set()
        assert driven.batcher.next_tile() is None


class TestNextTile:
    def test_who_stands_still_comes_before_who_looks_ahead(self) -> None:
        ahead, still = seeing(1, [1, 1], tile_of(RED), [2]), seeing(2, tile_of(BLUE), [2])
        assert next_tile([ahead, still]) is still.spans[0].tile
        assert next_tile([ahead]) is ahead.spans[0].tile

    def test_the_next_tile_of_a_sequence_is_made_while_its_first_is_computed(self) -> None:
        sequence = seeing(1, tile_of(RED), tile_of(BLUE), [2])
        first, second = (span.tile for span in sequence.spans)
        first.rows = np.zeros((first.size, 1), np.float32)
        assert next_tile([sequence]) is second

    def test_what_a_cache_has_is_not_made_again(self) -> None:
        sequence = seeing(1, tile_of(RED), [2], tile_of(BLUE), [2])
        sequence.num_computed = 7
        first, second = (span.tile for span in sequence.spans)
        assert next_tile([sequence]) is second
        assert not is_needed(first, sequence)

    def test_background_pictures_wait_while_somebody_is_served(self) -> None:
        driven = driven_of()
        driven.add(seeing(1, tile_of(RED), [1], priority=Priority.BACKGROUND))
        driven.step()
        assert driven.batcher.next_tile() is not None
        driven.add(sequence_of(2, [5] * 4, 3))
        assert driven.batcher.next_tile() is None
        driven.run()
        assert sorted(driven.done) == [1, 2]


class TestWholeSpans:
    def test_one_comes_whole_beside_a_running_stream(self) -> None:
        """However little prefill a stream allows beside it, and though the step has fewer tokens left."""
        driven = driven_of()
        driven.add(sequence_of(1, [5], 40))
        driven.step()
        tile = tile_of(RED, 5, 10)
        driven.add(seeing(2, tile, [1] * 200, is_whole=True))
        driven.step()
        driven.encode()
        assert chunks_of(driven.step()) == {1: (2, 3), 2: (0, 50)}

    def test_what_an_engine_has_left_of_one_is_computed_anew(self) -> None:
        driven = driven_of()
        sequence = driven.add(seeing(1, [1], tile_of(RED), [2], is_whole=True))
        for _ in range(3):
            driven.step()
            driven.encode()
        driven.engine.cut(1, 3)
        driven.batcher.on_step(StepResult(num_computed={1: 3}))
        assert driven.step().evicted == (1,)
        assert sequence.num_computed == 0
        driven.run()
        assert len(driven.encoded) == 1

    def test_a_part_of_one_that_may_come_in_pieces_is_gone_on_from(self) -> None:
        driven = driven_of()
        driven.add(seeing(1, [1], tile_of(RED), [2]))
        for _ in range(2):
            driven.step()
            driven.encode()
        driven.engine.cut(1, 3)
        driven.batcher.on_step(StepResult(num_computed={1: 3}))
        assert chunks_of(driven.step()) == {1: (3, 7)}


class TestBeginnings:
    def finish(self, driven: Driven, sequence: Sequence) -> Sequence:
        driven.add(sequence)
        driven.run()
        return sequence

    def test_another_question_computes_no_row_again_and_another_picture_all_of_them(self) -> None:
        driven = driven_of()
        tile = tile_of(RED)
        self.finish(driven, seeing(1, SYSTEM, tile, [7, 8]))
        question = self.finish(driven, seeing(2, SYSTEM, tile, [9, 9, 9]))
        assert question.num_cached_tokens == len(SYSTEM) + tile.size
        assert question.encode_ms == {}
        picture = self.finish(driven, seeing(3, SYSTEM, tile_of(BLUE), [7, 8]))
        assert picture.num_cached_tokens == len(SYSTEM)
        assert len(driven.encoded) == 2

    def test_none_ends_inside_a_span(self) -> None:
        """A source that has computed a part of a picture is a beginning up to that picture."""
        for can_cut in (True, False):
            driven = driven_of(can_cut_cache=can_cut)
            tile = tile_of(RED, 10, 10)
            first = driven.add(seeing(1, SYSTEM, tile, [7, 8]))
            for _ in range(2):
                driven.step()
                driven.encode()
            assert first.num_computed == len(SYSTEM) + 50
            second = seeing(2, SYSTEM, tile, [9])
            assert driven.batcher.num_ready(second) == (len(SYSTEM) if can_cut else 0)
            driven.end(1)
            assert driven.batcher.num_ready(second) == (len(SYSTEM) if can_cut else 0)
            driven.add(second)
            driven.run()
            assert second.num_cached_tokens == (len(SYSTEM) if can_cut else 0)

    def test_what_is_known_of_a_picture_without_its_rows_is_enough(self) -> None:
        """A cache that holds a picture is a beginning after a restart, when nobody has its rows."""
        driven = driven_of()
        self.finish(driven, seeing(1, SYSTEM, tile_of(RED), [7, 8]))
        again = seeing(2, SYSTEM, tile_of(RED), [7, 9])
        assert ids_of(again.spans[0].tile) == again.token_ids[again.spans[0].start : again.spans[0].end]
        self.finish(driven, again)
        assert again.num_cached_tokens == len(SYSTEM) + 6 + 1
        assert again.spans[0].tile.rows is None
