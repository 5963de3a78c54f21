"""The engine of rank 0: each call is told to the other ranks before it is made here, so that all compute the same.

The worker's batcher, its requests and its answers are as with any engine. Constraints, penalties, seeds and
log-probabilities are this rank's alone, whose draws the others take over.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

import mlx.core as mx
import msgspec

from backends.cache_files import ExportedCache
from backends.embedding import Encoder
from backends.errors import EngineError, EngineLostError, LoadError
from backends.logits import LogitsEditor
from backends.mlx.embedding import MLXEncoder
from backends.mlx.library import mlx_errors
from backends.mlx.loaded import LoadedMLX
from backends.mlx.loading import LoadedWeights, in_memory
from backends.mlx.memory_limits import memory_limits
from backends.mlx.ranks.ledger import Ledger
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
    OpenEncoder,
    Piece,
    Remove,
    Retire,
    StartInput,
    Step,
    StepInput,
)
from backends.mlx.ranks.others import OtherRanks
from backends.mlx.ranks.sharding import folder_digest, load_share
from backends.sequence import Sequence
from backends.step import Chunk, StepPlan, StepResult
from backends.wire.load import LoadSpec, RankHost
from backends.wire.request import Pooling

Tell = Callable[[Call], None]

WHY_TEXT_ONLY: Final = "a model over several hosts sees no pictures; take hosts away from the model for that"


class LeadingMLX(LoadedMLX):
    """See the module. What a collective raises ends the engine for good: the group is built anew, never mended.

    Args:
        tell: Tells the other ranks of a call.
        ledger: What the calls have come to, as `tell` sends it.

    Raises:
        EngineLostError: By any call: a rank is gone, or MLX has lost it.
    """

    def __init__(self, spec: LoadSpec, weights: LoadedWeights, others: OtherRanks, tell: Tell, ledger: Ledger) -> None:
        super().__init__(spec, weights)
        self._others = others
        self._tell = tell
        self._ledger = ledger
        self._last_encoder_id = 0

    def watch(self, on_lost: Callable[[str], object]) -> None:
        """Have `on_lost` called when a rank is gone, also while nothing is computed."""
        self._others.on_lost = on_lost

    def insert(self, sequence: Sequence, editor: LogitsEditor | None = None) -> None:
        """As any engine, on all ranks; the editor stays here."""
        self._tell(
            Insert(
                sequence_id=sequence.sequence_id,
                token_ids=sequence.token_ids,
                num_prompt_tokens=sequence.num_prompt_tokens,
                max_output_tokens=sequence.max_output_tokens,
                is_greedy=sequence.sampling.is_greedy,
                is_scored=sequence.is_scored,
            )
        )
        super().insert(sequence, editor)

    def fork(self, source_id: int, target_id: int, num_tokens: int) -> bool:
        """As any engine, on all ranks."""
        self._tell(Fork(source_id, target_id, num_tokens))
        is_done = super().fork(source_id, target_id, num_tokens)
        self._ledger.note(is_done)
        return is_done

    def retire(self, sequence_id: int) -> int:
        """As any engine, on all ranks."""
        self._tell(Retire(sequence_id))
        num_tokens = super().retire(sequence_id)
        self._ledger.note(num_tokens)
        return num_tokens

    def remove(self, sequence_id: int) -> None:
        """As any engine, on all ranks."""
        self._tell(Remove(sequence_id))
        super().remove(sequence_id)

    def add_checkpoint(self, sequence_id: int) -> int:
        """As any engine, on all ranks; what it takes is this one's."""
        live = self._live.get(sequence_id)
        self._tell(AddCheckpoint(sequence_id, 0 if live is None else live.sequence.num_computed))
        num_bytes = super().add_checkpoint(sequence_id)
        self._ledger.note(num_bytes > 0)
        return num_bytes

    def drop_checkpoint(self, sequence_id: int, num_tokens: int) -> None:
        """As any engine, on all ranks."""
        self._tell(DropCheckpoint(sequence_id, num_tokens))
        super().drop_checkpoint(sequence_id, num_tokens)

    def export_cache(self, sequence_id: int, places: Collection[int] | None = None) -> ExportedCache | None:
        """Nothing: a rank has a share of each cache only."""
        del sequence_id, places
        return None

    def load_cache(self, path: Path, sequence_id: int, token_ids: list[int]) -> int:
        """Nothing, as in `export_cache`."""
        del path, sequence_id, token_ids
        return 0

    def step(self, plan: StepPlan, should_abort: Callable[[], bool]) -> StepResult:
        """As any engine, on all ranks."""
        prefill, scored = self.sizes
        self._tell(Step(tuple(map(_piece_of, plan.chunks)), plan.evicted, prefill.num_tokens, scored.num_tokens))
        with lost_by(self._others):
            result = super().step(plan, should_abort)
        self._ledger.note_step(result)
        return result

    def clear_pool(self) -> None:
        """As any engine, on all ranks."""
        self._tell(ClearPool())
        super().clear_pool()

    def create_encoder(self, pooling: Pooling, max_tokens: int) -> Encoder:
        """As any engine; what it embeds goes through all ranks."""
        encoder = super().create_encoder(pooling, max_tokens)
        assert isinstance(encoder, MLXEncoder)
        self._last_encoder_id += 1
        self._tell(OpenEncoder(self._last_encoder_id, pooling, max_tokens))
        return LeadingEncoder(encoder, self._last_encoder_id, self._others, self._tell)

    def close(self) -> None:
        """As any engine, on all ranks; the group stays for a further model of this process."""
        try:
            self._tell(Close())
        except EngineLostError:
            return  # MLX may wait for ever for what was begun; the process ends
        super().close()


class LeadingEncoder(Encoder):
    """An encoder whose calls are told to the other ranks."""

    def __init__(self, encoder: MLXEncoder, encoder_id: int, others: OtherRanks, tell: Tell) -> None:
        self._encoder = encoder
        self._id = encoder_id
        self._others = others
        self._tell = tell

    def start(self, token_ids: list[int]) -> None:
        """Begin with an input on all ranks."""
        self._tell(StartInput(self._id, token_ids))
        self._encoder.start(token_ids)

    def step(self, max_tokens: int, should_abort: Callable[[], bool]) -> bytes | None:
        """Evaluate the next piece on all ranks."""
        num_tokens = min(max_tokens, self._encoder.size.num_tokens)
        self._tell(StepInput(self._id, num_tokens))
        with lost_by(self._others):
            return self._encoder.step(num_tokens, should_abort)

    def close(self) -> None:
        """Free it on all ranks."""
        self._tell(CloseEncoder(self._id))
        self._encoder.close()


class RankLoads:
    """The models that this process has spread over ranks: all over the same, as MLX makes one group per process.

    A worker loads one.
    """

    def __init__(self) -> None:
        self._others: OtherRanks | None = None
        self._num_loads = 0

    def load(self, spec: LoadSpec) -> LeadingMLX:
        """Load a model on all ranks, which are started where they are not yet.

        Raises:
            LoadError: A rank cannot have it, the model's code cannot be shared out, or the load wants what does not go
                with hosts.
        """
        _check(spec)
        if self._others is None:
            self._others = OtherRanks(spec.hosts, spec.backend)
        elif (self._others.hosts, self._others.backend) != (spec.hosts, spec.backend):
            raise LoadError("a process belongs to one group of ranks; other hosts take another process")
        self._num_loads += 1
        try:
            return _load(msgspec.structs.replace(spec, vision=None), self._others, self._num_loads)
        except EngineLostError as exc:
            raise LoadError(str(exc)) from exc

    def close(self) -> None:
        """End the other ranks."""
        if self._others is not None:
            self._others.close()
            self._others = None


def _check(spec: LoadSpec) -> None:
    if spec.adapter_path is not None:
        raise LoadError("an adapter does not go with hosts: take hosts away from the model, or ask it without adapter")
    if spec.vision is not None and spec.vision.is_preloaded:
        raise LoadError("vision: on does not go with hosts; set vision to off, or take hosts away from the model")
    if not mx.distributed.is_available(spec.backend):
        raise LoadError(f"backend: {spec.backend}: the mlx that is installed here has none such; set backend to ring")
    if spec.backend == "jaccl":
        _check_devices(spec.hosts)


def _check_devices(hosts: tuple[RankHost, ...]) -> None:
    """Refuse hosts that do not name an RDMA device towards each other one.

    Source: mlx, python/mlx/_distributed_utils/launch.py, `launch_jaccl`.
    """
    for number, host in enumerate(hosts):
        towards = [device is not None for device in host.devices]
        if towards != [other != number for other in range(len(hosts))]:
            raise LoadError(
                f"backend: jaccl: {host.label} has to name its RDMA device towards each host and - towards itself, "
                "such as mac2=10.0.0.2/rdma_en2:-; `mlx.distributed_config` finds them"
            )


def _load(spec: LoadSpec, others: OtherRanks, engine_id: int) -> LeadingMLX:
    """Load a model on all ranks.

    Args:
        engine_id: Of no model that was loaded before.
    """
    ledger = Ledger()

    def tell(call: Call) -> None:
        others.tell(engine_id, ledger.value, call)

    folder = Path(spec.model_path)
    tell(Load(msgspec.structs.replace(spec, hosts=()), folder_digest(folder)))
    loaded: LeadingMLX | None = None
    problems: list[str] = []
    try:
        with mlx_errors(LoadError, f"load {folder} over {others.group.size} ranks"), memory_limits(spec):
            loaded = LeadingMLX(spec, in_memory(load_share(folder, others.group)), others, tell, ledger)
    except LoadError as exc:
        problems.append(str(exc))
    problems += [words for words in others.refusals() if not words.endswith(tuple(problems))]
    if loaded is None or problems:
        tell(Close())
        raise LoadError("; ".join(problems))
    loaded.why_text_only = WHY_TEXT_ONLY
    return loaded


@contextlib.contextmanager
def lost_by(others: OtherRanks) -> Iterator[None]:
    """Turn what the library raises in a step into the end of the engine: other ranks may be anywhere in it.

    Raises:
        EngineLostError: As said; errors of ours that no library is behind pass unchanged.
    """
    try:
        yield
    except EngineError as exc:
        if exc.__cause__ is None:
            raise
        others.lose(others.words(str(exc)))
        raise EngineLostError(others.words(str(exc))) from exc


def _piece_of(chunk: Chunk) -> Piece:
    sequence = chunk.sequence
    return Piece(
        sequence.sequence_id,
        chunk.start,
        chunk.num_tokens,
        len(sequence.token_ids),
        sequence.token_ids[-1],
        sequence.checkpoint_places,
    )
