"""The interface that both engines and the fake implement; the Structs of its steps are in `step`.

Not the process: an engine knows nothing of frames, sockets or requests. One thread owns an engine for its whole life
(MLX streams belong to the thread that made them).
"""

import abc
from collections.abc import Callable, Collection
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from backends.batch_limits import BatchLimits
from backends.cache_files import ExportedCache, write_cache
from backends.embedding import Encoder, PairForm
from backends.errors import LoadError
from backends.logits import LogitsEditor
from backends.sequence import Sequence, Tile
from backends.speculation.drafter import Drafter
from backends.step import StepPlan, StepResult
from backends.tokenizer import Tokenizer
from backends.wire.load import LoadedModel, LoadSpec
from backends.wire.request import Pooling
from backends.wire.stats import CellsMade
from backends.wire.threads import ThreadsUsed

WHY_NO_DRAFTS: Final = "this model's cache cannot be cut behind a draft that turned out wrong"
_SCORED_BYTES = 64 * 1024 * 1024
"""Logits of prompts that a step may hold, beside those that tokens are drawn from."""
_LOGIT_BYTES = 4


class EngineInfo(msgspec.Struct, frozen=True):
    """What an engine says of itself once its libraries are imported.

    Attributes:
        features: The build's own words (CPU features, Metal).
        device: What the library says of the GPU, by its own names; {} without one.
    """

    versions: dict[str, str]
    features: str
    device: dict[str, str | int] = {}

    @property
    def working_set_bytes(self) -> int | None:
        """What Metal recommends a process to keep wired at most; None without Metal."""
        size = self.device.get("max_recommended_working_set_size")
        return size if isinstance(size, int) and size > 0 else None


class Engine(abc.ABC):
    """An engine's libraries; a model that they have loaded is a `LoadedEngine`.

    Attributes:
        can_see: Whether it can load a model with its tower.
    """

    name: ClassVar[str]
    can_see: ClassVar[bool] = False

    @abc.abstractmethod
    def info(self) -> EngineInfo:
        """Import the libraries and describe them.

        Raises:
            EngineUnavailableError: A library is missing or broken.
        """

    def load(self, spec: LoadSpec, on_progress: Callable[[float], None]) -> "LoadedEngine":
        """Load a model; where the engine has no means to see, without the tower unless that is to be loaded at once.

        Args:
            on_progress: Called with the share that is done, 0..1, as often as the library tells.

        Raises:
            LoadError: The engine refused it, in its own words.
        """
        if spec.vision is not None and not self.can_see:
            if spec.vision.is_preloaded:
                raise LoadError(f"the {self.name} engine cannot see; load the model with vision: off")
            spec = msgspec.structs.replace(spec, vision=None)
        return self._load(spec, on_progress)

    @abc.abstractmethod
    def _load(self, spec: LoadSpec, on_progress: Callable[[float], None]) -> "LoadedEngine":
        """Load a model that the engine has the means for; arguments and errors as in `load`."""


class LoadedEngine(abc.ABC):
    """An engine with its model, and the sequences in it.

    Args:
        step_tokens: Token budget of one step.
        num_slots: Sequences whose cache it can hold at once, >= the spec's `max_sequences`.

    Attributes:
        evaluates_rows: Whether sequences may have spans.
        why_text_only: Why not, although the load was to see; None = it has no means to, or was not to.
        speculation: What becomes of sequences that do not say.
        encodes_beside: Whether `encode` may be called on another thread while this one makes other calls; with a tile
            of its own then, whose rows become those of the sequences' tile.
        pair_form: What a model that ranks wants around a pair; None = it does not rank.
        closing_ids: Tokens that the model wants after a text that is embedded, e.g. BERT's separator.
        cache_fingerprint: What the form of its saved caches depends on: engine and version, `|`, and the rest.
        threads: Of the last step; None = there was none, or the library does not tell.
        num_thread_changes: How often their number has moved.
        drafter: A second model that drafts tokens for its sequences; None = there is none.
        computes_on_cpu: Whether what a step takes of the processors is what it costs.
    """

    computes_on_cpu = True
    encodes_beside = False
    drafter: Drafter | None = None
    pair_form: PairForm | None = None
    threads: ThreadsUsed | None = None
    num_thread_changes: int = 0
    why_text_only: str | None = None
    cache_fingerprint: str

    def __init__(
        self,
        spec: LoadSpec,
        model: LoadedModel,
        tokenizer: Tokenizer,
        *,
        step_tokens: int,
        num_slots: int,
        can_cut_cache: bool,
        forks_share_cells: bool,
        closing_ids: tuple[int, ...] = (),
        num_cuttable_tokens: int | None = None,
        num_live: int | None = None,
        makes_checkpoints: bool = False,
        max_drafted: int | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.closing_ids = closing_ids
        self.speculation = spec.speculation
        self.evaluates_rows = spec.vision is not None
        self.limits = BatchLimits(
            max_sequences=model.max_sequences,
            num_slots=num_slots,
            num_cells=model.kv_cells,
            step_tokens=step_tokens,
            scored_tokens=max(1, _SCORED_BYTES // (model.vocab_size * _LOGIT_BYTES)),
            num_retired_tokens=model.kv_cells if num_slots > model.max_sequences else 0,
            can_cut_cache=can_cut_cache,
            num_cuttable_tokens=num_cuttable_tokens,
            checkpoint_bytes=spec.checkpoint_bytes if makes_checkpoints else 0,
            border_ids=frozenset(tokenizer.control_ids.values()) - tokenizer.end_ids,
            num_live=num_live,
            max_drafted=max_drafted,
            forks_share_cells=forks_share_cells,
            background_max_wait_s=spec.background_max_wait_s,
            session_ttl_s=spec.session_ttl_s,
        )

    def watch(self, on_lost: Callable[[str], object]) -> None:  # noqa: B027 - nothing to be done for most
        """Have `on_lost` called, on any thread, when the engine is lost between its calls; most cannot be.

        Args:
            on_lost: Takes why, in words.
        """

    @property
    def cells_made(self) -> CellsMade | None:
        """What there is of the cells that the model may have; None where they do not grow one after the other."""
        return None

    @abc.abstractmethod
    def insert(self, sequence: Sequence, editor: LogitsEditor | None = None) -> None:
        """Make room for a sequence; nothing is computed yet.

        Args:
            editor: To be asked before and told after every draw; None = the logits are drawn from as they are.
        """

    @abc.abstractmethod
    def fork(self, source_id: int, target_id: int, num_tokens: int) -> bool:
        """Let an inserted sequence begin with the cached beginning of another one, which keeps it.

        Args:
            source_id: A running, held or retired sequence whose cache holds at least `num_tokens`; where it cannot be
                cut, just so many, or a checkpoint after them.
            target_id: A sequence with nothing computed whose first `num_tokens` tokens are the same.
            num_tokens: How many, >= 1.

        Returns:
            Whether it was done; the target is computed from its beginning otherwise.
        """

    @abc.abstractmethod
    def retire(self, sequence_id: int) -> int:
        """End a sequence but keep its cache, as a beginning for others; its cells, its sampler and its editor go.

        Args:
            sequence_id: An inserted sequence that will never be in a plan again. `remove` frees what is kept; the id
                must not be used for another sequence before.

        Returns:
            How many of its first tokens the cache holds, without those of a step's draft that it did not take over;
            0 = nothing was kept, and the sequence is removed.
        """

    def add_checkpoint(self, sequence_id: int) -> int:
        """Keep the state of a live sequence's cache as it is now, so that forks can begin with so many tokens.

        Forks hold the checkpoints of what they begin with, and go on holding them when the sequence is gone; a retired
        sequence keeps its own. They go with their last holder.

        Args:
            sequence_id: Has none after so many tokens. Asked only where `limits.keeps_checkpoints`.

        Returns:
            What it takes, bytes; 0 = nothing was kept.
        """
        raise NotImplementedError(f"{type(self).__name__} keeps nothing of {sequence_id}")

    def drop_checkpoint(self, sequence_id: int, num_tokens: int) -> None:
        """Let a sequence, live or retired, hold a checkpoint no more; unknown ones are ignored."""
        raise NotImplementedError(f"{type(self).__name__} keeps nothing of {sequence_id} after {num_tokens}")

    def checkpoints_of(self, sequence_id: int) -> dict[int, int]:
        """Return what each checkpoint of a sequence takes, bytes, by after how many tokens it is."""
        del sequence_id
        return {}

    @abc.abstractmethod
    def export_cache(self, sequence_id: int, places: Collection[int] | None = None) -> ExportedCache | None:
        """Return what is to be written of a sequence that is not in the batch (held or retired); None = nothing.

        It costs next to nothing; its parts do, and are made when they are asked for. Whatever becomes of the sequence,
        they are as it was.

        Args:
            places: Of the checkpoints that are to be written too; None = of all.
        """

    def save_cache(self, sequence_id: int, path: Path) -> int:
        """Write the cache of a sequence that is not in the batch (held or retired) to a file, which it replaces.

        Args:
            path: In an existing folder. The file is complete or not there.

        Returns:
            The file's size in bytes; 0 = there is nothing to save, and no file.

        Raises:
            EngineError: It cannot be written.
        """
        cache = self.export_cache(sequence_id)
        return 0 if cache is None else write_cache(path, self.cache_fingerprint, cache)

    @abc.abstractmethod
    def load_cache(self, path: Path, sequence_id: int, token_ids: list[int]) -> int:
        """Read what `save_cache` wrote into a new retired sequence, with its checkpoints.

        A file that is damaged, or of another engine, version, kind of model or text, is not an error: nothing is read
        from it. Two models of the same shape are told apart by the caller, who knows their hashes.

        Args:
            sequence_id: A free id; it takes a slot.
            token_ids: What the cache must begin with; it may hold fewer tokens, not others.

        Returns:
            How many of `token_ids` the cache holds; 0 = none, and the sequence does not exist.
        """

    @abc.abstractmethod
    def step(self, plan: StepPlan, should_abort: Callable[[], bool]) -> StepResult:
        """Evaluate the plan's chunks and draw one token for each that reaches its sequence's end.

        A live sequence that is not in the plan is held: it keeps its slot and its cache, costs the step nothing and
        goes on with a later plan. Sequences to be evicted lose both first.

        Args:
            should_abort: To be asked now and then in a long step, on the engine's thread; True gives the step up.

        Raises:
            EngineError: The step failed; the sequences in the plan are lost.
        """

    @abc.abstractmethod
    def remove(self, sequence_id: int) -> None:
        """Forget a sequence, live or retired, and free its slot and cells at once; unknown ids are ignored."""

    @abc.abstractmethod
    def clear_pool(self) -> None:
        """Free what the library keeps for reuse and nobody uses; nothing that a sequence has."""

    def encode(self, tile: Tile, should_abort: Callable[[], bool]) -> bool:
        """Have the tower make a tile's rows, and set them; only where `evaluates_rows`, one tile at a time.

        The tower is loaded with the first tile, where the spec does not want it at once.

        Args:
            should_abort: As in `step`; on the thread that calls this.

        Returns:
            Whether it was done; False = it was given up.

        Raises:
            EngineError: The tower cannot be loaded or has failed; the model goes on without it.
        """
        raise NotImplementedError(f"{type(self).__name__} makes no rows of {tile.size} and asks {should_abort}")

    @abc.abstractmethod
    def create_encoder(self, pooling: Pooling, max_tokens: int) -> Encoder:
        """Return what embeds inputs with the loaded model, beside its sequences; to be closed.

        Args:
            pooling: How it pools; RANK only where there is a `pair_form`.
            max_tokens: Tokens of the longest input that it will get, >= 1.

        Raises:
            UnsupportedByModelError: The model has no hidden states to offer.
            EngineError: There is no memory for it.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Free everything, the model too."""
