"""What crosses the process border between the gateway and a worker, in both directions.

A frame carries a list of messages, so that one engine step is one frame however many sequences it served. Structs are
encoded as arrays (no field names on the wire): both ends are always the same checkout, and a token's message is small.

Rules:
    Every `Generate` is answered by exactly one terminal message: `Finished`, `Failed` or `Aborted`.
    `Accepted` comes before any `Delta` of its sequence; `PrefillProgress` only between the two.
    `Ask` is answered by `Answered` or `Failed`, or by `Aborted` where it was cancelled before.
    `Embed` is answered by an `Embedded` per input and then one terminal message.
    `sequence_id` is chosen by the gateway and never used twice on one channel.
"""

import msgspec

from backends.errors import BackendError, ContextLengthError, PromptError
from backends.wire.load import LoadedModel, LoadSpec
from backends.wire.output import FinishReason, Output, PromptToken
from backends.wire.prompts import Prompt
from backends.wire.questions import Answer, Question
from backends.wire.request import Pooling, SequenceSpec
from backends.wire.stats import Stats
from backends.wire.threads import ThreadsSince

_SCORE_CHARS = 32


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Base of all messages; the tag is the class name."""


# ---- both directions: parts -----------------------------------------------------------------------------------------


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """Token counts of one sequence.

    Attributes:
        num_prompt_tokens: Tokens of the prompt.
        num_cached_tokens: Those of them that were not computed for this sequence.
        num_output_tokens: Tokens of the answer, reasoning included.
        num_reasoning_tokens: Those of them that brought reasoning only.
        num_image_tokens: Those of the prompt that are rows of pictures.
        num_drafted_tokens: Tokens that were drafted, right ones and wrong ones.
        num_accepted_tokens: Those of the answer that had been drafted.
        num_drafted_by_model: Those of the drafted ones that a second model drafted; `num_accepted_by_model` likewise.
    """

    num_prompt_tokens: int
    num_cached_tokens: int
    num_output_tokens: int
    num_reasoning_tokens: int = 0
    num_image_tokens: int = 0
    num_drafted_tokens: int = 0
    num_accepted_tokens: int = 0
    num_drafted_by_model: int = 0
    num_accepted_by_model: int = 0

    @property
    def num_tokens(self) -> int:
        """Tokens of prompt and answer."""
        return self.num_prompt_tokens + self.num_output_tokens


class SequenceTimings(msgspec.Struct, frozen=True, array_like=True):
    """Where one sequence's time went inside the worker, milliseconds.

    Attributes:
        queue_ms: From receipt to the first prefill step.
        prefill_ms: From the first prefill step to the first token.
        decode_ms: From the first token to the last.
        threads: With how many it was computed, where the engine tells, and each change of that.
        cache_growth_ms: Of these, how long the cache grew meanwhile.
    """

    queue_ms: float
    prefill_ms: float
    decode_ms: float
    threads: tuple[ThreadsSince, ...] = ()
    cache_growth_ms: float = 0.0


class SeenImage(msgspec.Struct, frozen=True, array_like=True):
    """What a model was shown of a picture.

    Attributes:
        original: Width and height of the file's picture, upright, pixels.
        seen: The same of what the tower saw; boxes that a model names refer to it.
        num_tokens: Rows that stand for it in the prompt.
        is_cached: Whether no row had to be made for it.
        encode_ms: How long the tower took, milliseconds.
    """

    original: tuple[int, int]
    seen: tuple[int, int]
    num_tokens: int
    is_cached: bool
    encode_ms: float


class SequenceEnd(msgspec.Struct, frozen=True, array_like=True):
    """How a sequence ended.

    Attributes:
        stopped_by: The stop string that ended it, or None.
        token_ids: Prompt and answer, an end token too; None = nobody wanted them.
        images: The prompt's pictures, in order.
    """

    reason: FinishReason
    usage: Usage
    timings: SequenceTimings
    stopped_by: str | None = None
    token_ids: list[int] | None = None
    images: tuple[SeenImage, ...] = ()


# ---- gateway -> worker ----------------------------------------------------------------------------------------------


class Load(_Message, frozen=True):
    """Load this artifact; answered by `LoadProgress`*, then `Loaded` or `LoadFailed`."""

    spec: LoadSpec


class Generate(_Message, frozen=True):
    """Start one sequence."""

    sequence_id: int
    prompt: Prompt
    spec: SequenceSpec


class Cancel(_Message, frozen=True):
    """Give the sequence up at once, whatever it is doing; answered by `Aborted` unless it had already ended."""

    sequence_id: int


class Pause(_Message, frozen=True):
    """Take the sequence out of the batch at the next token border; it keeps its place."""

    sequence_id: int


class Resume(_Message, frozen=True):
    """Go on with a paused sequence."""

    sequence_id: int


class Ask(_Message, frozen=True):
    """A question about the loaded model; answered between two steps."""

    sequence_id: int
    question: Question


class Embed(_Message, frozen=True):
    """Turn texts into vectors, in pieces between the steps of running sequences; `Cancel` ends it.

    Attributes:
        inputs: Texts, or token ids that are used as they are; at least one.
        pooling: How the hidden states are pooled; None = as the model's makers want it, or their mean.
        truncates: Whether the end of an input is left out where the context does not hold all of it.
        query: Where given, each input is a document, which a model that ranks judges by how well it answers this: its
            vector is one number then, the higher the better. Texts only.
    """

    sequence_id: int
    inputs: list[str | list[int]]
    pooling: Pooling | None = None
    truncates: bool = False
    query: str | None = None


class Shutdown(_Message, frozen=True):
    """End the process; whatever still runs is aborted."""


Command = Load | Generate | Ask | Embed | Cancel | Pause | Resume | Shutdown


# ---- worker -> gateway ----------------------------------------------------------------------------------------------


class Hello(_Message, frozen=True):
    """First message of every worker: its libraries are imported and it waits for `Load`.

    Attributes:
        engine: `mlx`, `llamacpp` or `fake`.
        features: The build's own description (CPU features, Metal).
        working_set_bytes: What Metal recommends a process to keep wired at most; None without Metal.
        version: Of the worker's files, which may have been replaced since the gateway started.
    """

    engine: str
    versions: dict[str, str]
    features: str
    import_ms: float
    working_set_bytes: int | None = None
    version: str = ""


class LoadProgress(_Message, frozen=True):
    """Share of the load that is done, 0..1."""

    fraction: float


class Loaded(_Message, frozen=True):
    """The model is resident; sequences may come."""

    model: LoadedModel


class LoadFailed(_Message, frozen=True):
    """The model cannot be loaded; the worker ends itself after this message."""

    code: str
    message: str


class Accepted(_Message, frozen=True):
    """The prompt was rendered and tokenized."""

    sequence_id: int
    num_prompt_tokens: int


class PrefillProgress(_Message, frozen=True):
    """Tokens of the prompt that are evaluated so far (cached ones included)."""

    sequence_id: int
    num_done: int
    num_total: int
    num_cached: int


class PromptShown(_Message, frozen=True):
    """What a request wants to know of its prompt, piece by piece as it is computed.

    Attributes:
        start: Index of the first of `tokens`; after 0 they go on where the message before ended.
        text: The prompt's text, in the first message, where it is to be echoed.
        tokens: Where their scores are wanted.
    """

    sequence_id: int
    start: int
    text: str = ""
    tokens: tuple[PromptToken, ...] = ()

    @property
    def num_chars(self) -> int:
        """What it takes in a buffer, about."""
        return len(self.text) + sum(_SCORE_CHARS * (1 + len(token.top)) for token in self.tokens)


class Delta(_Message, frozen=True):
    """New output of one sequence, and how many tokens brought it."""

    sequence_id: int
    output: Output
    num_tokens: int


class Finished(_Message, frozen=True):
    """Terminal: the sequence ended by itself, with its last output, perhaps an empty one."""

    sequence_id: int
    output: Output
    end: SequenceEnd


class Answered(_Message, frozen=True):
    """Terminal: the answer to an `Ask`."""

    sequence_id: int
    answer: Answer


class Embedded(_Message, frozen=True):
    """One input of an `Embed` is done.

    Attributes:
        index: Which, from 0.
        vector: Little-endian float32, of length 1 by its L2 norm; a document's score as it is.
        num_tokens: Tokens of the input, special ones included.
    """

    sequence_id: int
    index: int
    vector: bytes
    num_tokens: int


class Failed(_Message, frozen=True):
    """Terminal: the sequence could not be done.

    Attributes:
        param: The request field at fault, or None.
        details: Numbers that belong to the message, e.g. `n_prompt_tokens` and `n_ctx`.
    """

    sequence_id: int
    code: str
    message: str
    param: str | None = None
    details: dict[str, int] = {}

    @classmethod
    def of(cls, sequence_id: int, exc: BackendError) -> "Failed":
        """Return the message for a request that ended with `exc`."""
        details = {}
        if isinstance(exc, ContextLengthError):
            details = {"n_prompt_tokens": exc.num_prompt_tokens, "n_ctx": exc.context_length}
        return cls(sequence_id, exc.code, str(exc), exc.param if isinstance(exc, PromptError) else None, details)


class Aborted(_Message, frozen=True):
    """Terminal: the sequence was cancelled."""

    sequence_id: int
    usage: Usage


class Heartbeat(_Message, frozen=True):
    """Sign of life of a busy worker, at least every HEARTBEAT_INTERVAL_S while it computes."""

    num_running: int
    num_waiting: int
    num_free_cells: int


HEARTBEAT_INTERVAL_S = 1.0


class CacheDiscarded(_Message, frozen=True):
    """A saved cache was thrown away; nothing is lost but the time to compute it.

    Attributes:
        path: Of the file.
    """

    path: str
    reason: str


Event = (
    Hello
    | LoadProgress
    | Loaded
    | LoadFailed
    | Accepted
    | PrefillProgress
    | PromptShown
    | Delta
    | Finished
    | Failed
    | Aborted
    | Heartbeat
    | Stats
    | CacheDiscarded
    | Answered
    | Embedded
)
Terminal = Finished | Failed | Aborted | Answered
