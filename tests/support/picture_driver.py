"""A worker on the fake engine, in this process, whose prompts are put together of texts and tiles by hand."""

from pathlib import Path

from backends.batching.saving import Saving
from backends.fake.engine import FakeEngine, FakeOptions
from backends.logits import create_editor
from backends.output.answer import RunningAnswer
from backends.saved_caches.caches import SavedCaches
from backends.sequence import PlacedImage, Sequence, Tile
from backends.tile_cache import TileCache
from backends.wire.load import LoadSpec, VisionSpec
from backends.wire.messages import Generate
from backends.wire.prompts import TokenPrompt
from backends.wire.request import Priority, SamplingParams, SequenceSpec
from tests.support.engine_driver import GREEDY, Answer, EngineDriver
from tests.support.tiles import SIDE, spliced


class PictureDriver(EngineDriver):
    """Keeps ended sequences' caches, as a worker does.

    Args:
        spec: What is loaded; None = a model that sees, with small steps.
        **options: The fake engine's.
    """

    def __init__(self, spec: LoadSpec | None = None, **options: object) -> None:
        spec = spec or LoadSpec(model_path="", vision=VisionSpec(family="llava"), step_tokens=64, max_sequences=4)
        engine = FakeEngine(FakeOptions(**options)).load(spec, lambda _share: None)  # type: ignore[arg-type]
        super().__init__(engine, keeps_ended=True)
        if spec.saved_caches_dir is not None:
            saved = SavedCaches(engine, Path(spec.saved_caches_dir), spec.saved_caches_max_bytes)
            self.worker._batch.saving = Saving(engine, self.batcher, saved, saves_all=spec.saves_all_caches)
        self.tiles: TileCache = self.worker._encoding._tiles

    def show(
        self,
        *pieces: str | Tile,
        max_tokens: int = 4,
        is_whole: bool = False,
        sampling: SamplingParams = GREEDY,
        priority: Priority = Priority.INTERACTIVE,
    ) -> int:
        """Start a sequence whose prompt has texts and tiles, each of which is a picture; return its id."""
        sequence_id = len(self.answers) + 1
        self.answers[sequence_id] = Answer()
        known = [self.tiles.intern(piece) if isinstance(piece, Tile) else list(piece.encode()) for piece in pieces]
        token_ids, spans = spliced(*known, is_whole=is_whole)
        spec = SequenceSpec(sampling, max_tokens, priority=priority)
        images = tuple(PlacedImage((SIDE, SIDE), (SIDE, SIDE), (span.tile,)) for span in spans)
        sequence = Sequence(
            sequence_id,
            token_ids,
            len(token_ids),
            max_tokens,
            sampling,
            priority,
            spans=spans,
            images=images,
        )
        message = Generate(sequence_id, TokenPrompt([]), spec)
        answer = RunningAnswer(message, sequence, self.engine.tokenizer, None, self.worker._clock())
        answer.editor = create_editor(sampling, None, token_ids, answer.held_ends)
        self.worker._start(answer)
        self._sequences[sequence_id] = token_ids
        self._collect()
        return sequence_id

    def shown(self, *pieces: str | Tile, max_tokens: int = 4, is_whole: bool = False) -> Answer:
        """Run one sequence alone; arguments as in `show`."""
        sequence_id = self.show(*pieces, max_tokens=max_tokens, is_whole=is_whole)
        self.run()
        return self.answers[sequence_id]

    @property
    def num_encoded(self) -> int:
        """Tiles that the tower has made rows of."""
        return sum(tile.rows is not None for tile in self.tiles._known.values())
