"""The engines of a rank other than 0: they make rank 0's calls, in its order, and see to it that they come to the same.

Nothing of requests is known here but token ids.
"""

from pathlib import Path

from backends.embedding import Encoder
from backends.errors import EngineError, LoadError
from backends.mlx.embedding import MLXEncoder
from backends.mlx.library import mlx_errors
from backends.mlx.loaded import LoadedMLX
from backends.mlx.loading import in_memory
from backends.mlx.memory_limits import memory_limits
from backends.mlx.ranks.group import RankGroup
from backends.mlx.ranks.ledger import Ledger, RanksDisagreeError
from backends.mlx.ranks.messages import (
    AddCheckpoint,
    Call,
    ClearPool,
    Close,
    CloseEncoder,
    DropCheckpoint,
    Fork,
    Insert,
    Load,
    Loaded,
    Mirrored,
    OpenEncoder,
    Piece,
    Refused,
    Remove,
    Retire,
    StartInput,
    Step,
    StepInput,
)
from backends.mlx.ranks.sharding import check_room, folder_digest, load_share
from backends.sequence import Sequence
from backends.step import Chunk, StepPlan
from backends.wire.request import SamplingParams

CHECK_COMMAND = "mlxr hosts check"


class FollowingEngines:
    """The models that rank 0 has loaded, as this rank has them."""

    def __init__(self, group: RankGroup) -> None:
        self._group = group
        self._models: dict[int, FollowingModel] = {}

    def make(self, mirrored: Mirrored) -> Loaded | Refused | None:
        """Make a call of rank 0's; return what it is to be answered with, if it is.

        Raises:
            RanksDisagreeError: The calls before it have come to something else here.
            EngineError: A collective failed.
        """
        match mirrored.call:
            case Load():
                return self._load(mirrored.engine_id, mirrored.call)
            case Close():
                model = self._models.pop(mirrored.engine_id, None)
                if model is not None:
                    model.loaded.close()
            case call:
                model = self._models.get(mirrored.engine_id)
                if model is None or model.ledger.value != mirrored.agreed:
                    raise RanksDisagreeError(f"it disagrees with rank 0 on what came before {type(call).__name__}")
                model.make(call)
        return None

    def _load(self, engine_id: int, call: Load) -> Loaded | Refused:
        folder = Path(call.spec.model_path)
        try:
            _check_files(folder, call.files)
            check_room(folder, self._group.size)
            with mlx_errors(LoadError, f"load {folder}"), memory_limits(call.spec):
                loaded = LoadedMLX(call.spec, in_memory(load_share(folder, self._group)))
        except LoadError as exc:
            return Refused(str(exc))
        self._models[engine_id] = FollowingModel(loaded)
        return Loaded()


def _check_files(folder: Path, files: str) -> None:
    if folder_digest(folder) != files:
        raise LoadError(f"{folder} has other files than on rank 0's host; see `{CHECK_COMMAND}`")


class FollowingModel:
    """One model, and the sequences and encoders of it that rank 0 has spoken of.

    Attributes:
        ledger: What its calls have come to.
    """

    def __init__(self, loaded: LoadedMLX) -> None:
        self.loaded = loaded
        self.ledger = Ledger()
        self._sequences: dict[int, Sequence] = {}
        self._encoders: dict[int, Encoder] = {}

    def make(self, call: Call) -> None:
        """Make a call; errors as in `FollowingEngines.make`."""
        match call:
            case Step():
                self._step(call)
            case Insert():
                self._insert(call)
            case Fork() | Retire() | Remove() | AddCheckpoint() | DropCheckpoint():
                self._keep(call)
            case ClearPool():
                self.loaded.clear_pool()
            case OpenEncoder() | StartInput() | StepInput() | CloseEncoder():
                self._embed(call)
            case Load() | Close():
                raise RanksDisagreeError("a model is loaded and closed by its engines")

    def _keep(self, call: Fork | Retire | Remove | AddCheckpoint | DropCheckpoint) -> None:
        """Do with a sequence's cache what rank 0 does."""
        match call:
            case Fork(source_id=source_id, target_id=target_id, num_tokens=num_tokens):
                self.ledger.note(self.loaded.fork(source_id, target_id, num_tokens))
            case Retire(sequence_id=sequence_id):
                self._sequences.pop(sequence_id, None)
                self.ledger.note(self.loaded.retire(sequence_id))
            case Remove(sequence_id=sequence_id):
                self._sequences.pop(sequence_id, None)
                self.loaded.remove(sequence_id)
            case AddCheckpoint(sequence_id=sequence_id, num_computed=num_computed):
                if sequence_id in self._sequences:
                    self._sequences[sequence_id].num_computed = num_computed
                self.ledger.note(self.loaded.add_checkpoint(sequence_id) > 0)
            case DropCheckpoint(sequence_id=sequence_id, num_tokens=num_tokens):
                self.loaded.drop_checkpoint(sequence_id, num_tokens)

    def _insert(self, call: Insert) -> None:
        # Of its sampling only what decides in which call it is drawn, and whether its prompt is scored.
        sampling = SamplingParams(
            temperature=0.0 if call.is_greedy else 1.0, num_prompt_logprobs=0 if call.is_scored else None
        )
        sequence = Sequence(call.sequence_id, call.token_ids, call.num_prompt_tokens, call.max_output_tokens, sampling)
        self._sequences[call.sequence_id] = sequence
        self.loaded.insert(sequence)

    def _step(self, call: Step) -> None:
        prefill, scored = self.loaded.sizes
        prefill.num_tokens, scored.num_tokens = call.prefill_tokens, call.score_tokens
        chunks = tuple(self._chunk(piece) for piece in call.pieces)
        result = self.loaded.step(StepPlan(chunks, call.evicted), lambda: False)
        self.ledger.note_step(result)
        for sequence_id, token_ids in result.tokens.items():
            self._sequences[sequence_id].token_ids += token_ids

    def _chunk(self, piece: Piece) -> Chunk:
        sequence = self._sequences.get(piece.sequence_id)
        if sequence is None:
            raise RanksDisagreeError(f"rank 0 computes sequence {piece.sequence_id}, which is not here")
        num_here, last_here = len(sequence.token_ids), sequence.token_ids[-1]
        if (num_here, last_here) != (piece.length, piece.last_id):
            raise RanksDisagreeError(
                f"rank 0 has {piece.length} tokens of sequence {piece.sequence_id} with {piece.last_id} as the last, "
                f"here it has {num_here} with {last_here}"
            )
        sequence.num_computed = piece.start
        sequence.checkpoint_places = piece.checkpoint_places
        return Chunk(sequence, piece.start, piece.num_tokens)

    def _embed(self, call: OpenEncoder | StartInput | StepInput | CloseEncoder) -> None:
        if isinstance(call, OpenEncoder):
            self._encoders[call.encoder_id] = self.loaded.create_encoder(call.pooling, call.max_tokens)
            return
        encoder = self._encoders.get(call.encoder_id)
        if encoder is None:
            raise RanksDisagreeError("rank 0 embeds by what is not here")
        match call:
            case StartInput(token_ids=token_ids):
                encoder.start(token_ids)
            case StepInput(num_tokens=num_tokens):
                assert isinstance(encoder, MLXEncoder)
                encoder.size.num_tokens = num_tokens
                try:
                    encoder.step(num_tokens, lambda: False)
                except EngineError as exc:
                    if exc.__cause__ is not None:
                        raise
                    # a vector without a direction, on rank 0 as well
            case CloseEncoder():
                self._encoders.pop(call.encoder_id).close()
