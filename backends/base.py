"""The interface that both engines and the fake implement, and the Structs that cross it.

Not the process: an engine knows nothing of frames, sockets or requests. One thread owns an engine for its whole life
(MLX streams belong to the thread that made them).
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from backends.messages import LoadedModel, LoadSpec
from backends.sequence import Sequence


class EngineInfo(msgspec.Struct, frozen=True):
    """What an engine says of itself once its libraries are imported.

    Attributes:
        engine: Its name.
        versions: Library name to version.
        features: The build's own words (CPU features, Metal).
    """

    engine: str
    versions: dict[str, str]
    features: str


class EngineCapabilities(msgspec.Struct, frozen=True):
    """What the loaded engine can do; decided by the library and the model's memory, never by a model's name.

    Attributes:
        can_abort_step: A running step can be given up in the middle.
        can_cut_cache: The tail of a sequence's cache can be removed (not so for recurrent memory).
    """

    can_abort_step: bool
    can_cut_cache: bool


class EngineMemory(msgspec.Struct, frozen=True):
    """Bytes the engine's library holds by its own account; None where it keeps no account."""

    active_bytes: int | None
    cached_bytes: int | None


class Tokenizer(abc.ABC):
    """Text to token ids and back, with the facts that the shared code needs.

    Attributes:
        vocab_size: Number of token ids; valid ids are 0 <= id < vocab_size.
        adds_bos: Whether plain text is to start with the BOS token.
        bos_text: The BOS token as text, "" without one.
        eos_text: The EOS token as text, "" without one.
        chat_template: The model's own Jinja template, or None.
    """

    vocab_size: int
    adds_bos: bool
    bos_text: str
    eos_text: str
    chat_template: str | None

    @property
    @abc.abstractmethod
    def max_token_bytes(self) -> int:
        """At least the length of the longest token; bounds a text's tokens from below without tokenizing it."""

    @abc.abstractmethod
    def is_end(self, token_id: int) -> bool:
        """Tell whether a token ends an answer."""

    @abc.abstractmethod
    def encode(self, text: str, *, add_bos: bool) -> list[int]:
        """Return the token ids of `text`; control tokens written in it become their ids."""

    @abc.abstractmethod
    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes that a token adds to the text; b"" for control tokens."""


class Chunk(NamedTuple):
    """Consecutive pending tokens of one sequence to be evaluated in one step.

    Attributes:
        sequence: Whose tokens; the engine reads it and never changes it.
        start: Index of the first token, equal to `sequence.num_computed`.
        num_tokens: How many, >= 1.
    """

    sequence: Sequence
    start: int
    num_tokens: int

    @property
    def end(self) -> int:
        """Index after the last token."""
        return self.start + self.num_tokens

    @property
    def samples(self) -> bool:
        """Whether the chunk reaches the sequence's end, so that a token is drawn after it."""
        return self.end == len(self.sequence.token_ids)


class StepPlan(msgspec.Struct, frozen=True):
    """What one step is to do.

    Attributes:
        chunks: Decode chunks first, then prefill chunks, at most one per sequence.
        evicted: Sequences whose cache goes before the step (their cells are needed); they will be computed anew.
    """

    chunks: tuple[Chunk, ...] = ()
    evicted: tuple[int, ...] = ()


@dataclasses.dataclass(slots=True)
class StepResult:
    """What one step did.

    Attributes:
        num_computed: Per sequence id, how many of its tokens the cache holds now. An engine that batches by its own
            rules may have done less or more than the plan; a sequence that is missing did not move.
        tokens: Per sequence id, the token that was drawn.
        was_aborted: The step was given up; `num_computed` tells what is left.
    """

    num_computed: dict[int, int] = dataclasses.field(default_factory=dict)
    tokens: dict[int, int] = dataclasses.field(default_factory=dict)
    was_aborted: bool = False


class Engine(abc.ABC):
    """One engine with at most one loaded model."""

    name: str
    tokenizer: Tokenizer
    capabilities: EngineCapabilities

    @abc.abstractmethod
    def info(self) -> EngineInfo:
        """Import the libraries and describe them.

        Raises:
            EngineUnavailableError: A library is missing or broken.
        """

    @abc.abstractmethod
    def load(self, spec: LoadSpec, on_progress: Callable[[float], None]) -> LoadedModel:
        """Load the model; afterwards `tokenizer` and `capabilities` are set.

        Args:
            spec: What to load.
            on_progress: Called with the share that is done, 0..1, as often as the library tells.

        Raises:
            LoadError: The engine refused it, in its own words.
        """

    @property
    @abc.abstractmethod
    def step_tokens(self) -> int:
        """Token budget of one step."""

    @abc.abstractmethod
    def insert(self, sequence: Sequence) -> None:
        """Make room for a sequence; nothing is computed yet."""

    @abc.abstractmethod
    def step(self, plan: StepPlan, should_abort: Callable[[], bool]) -> StepResult:
        """Evaluate the plan's chunks and draw one token for each that reaches its sequence's end.

        Args:
            plan: From the batcher.
            should_abort: To be asked now and then in a long step, on the engine's thread; True gives the step up.

        Raises:
            EngineError: The step failed; the sequences in the plan are lost.
        """

    @abc.abstractmethod
    def remove(self, sequence_id: int) -> None:
        """Forget a sequence and free its cells at once; unknown ids are ignored."""

    def pause(self, sequence_id: int) -> int | None:
        """Take a sequence out of the batch, keeping its cache.

        Returns:
            How many of its tokens the cache holds; None when nothing changed (plans simply leave it out).
        """
        del sequence_id
        return None

    @abc.abstractmethod
    def memory(self) -> EngineMemory:
        """Return what the library says it holds."""

    @abc.abstractmethod
    def close(self) -> None:
        """Free everything; the process is about to end."""
