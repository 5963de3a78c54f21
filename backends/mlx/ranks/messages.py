"""What ranks say to each other: rank 0 each call of its engine before it makes it, the others that they have loaded.

Sequences are known by their ids; how tokens are drawn is rank 0's affair, whose draws all ranks take (`group`).
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from backends.wire.load import LoadSpec
from backends.wire.request import Pooling

MAX_RANKS: Final = 64
"""More than anybody has cabled together."""

MAX_ORDER_BYTES: Final = 4096

Rank = Annotated[int, Meta(ge=1, lt=MAX_RANKS)]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a process that is to be a rank reads from stdin, which then stays open as long as rank 0 lives.

    Attributes:
        secret: Proves both sides to each other; of this group alone.
        leader: Where rank 0 listens, IPv4 address and port.
        address: Where this rank is to listen for the others, an IPv4 address of its own.
    """

    rank: Rank
    secret: bytes
    leader: tuple[str, int]
    address: str


class Challenge(msgspec.Struct, frozen=True):
    """The first word of whoever listens."""

    nonce: bytes


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """Who has connected.

    Attributes:
        nonce: The other side's to prove itself with.
        mac: Over both nonces and the rank, with the secret.
        port: Where it will listen for the other ranks.
        versions: Of mlxr and the libraries, which have to be rank 0's.
    """

    rank: Rank
    nonce: bytes
    mac: bytes
    port: int
    versions: dict[str, str]


class Welcome(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever listens has the secret too; how the group comes together.

    Attributes:
        addresses: Of all ranks, `address:port`, in order.
        devices: For jaccl, per rank the RDMA device towards each other rank, None towards itself; () for ring.
    """

    mac: bytes
    backend: str
    addresses: tuple[str, ...]
    devices: tuple[tuple[str | None, ...], ...] = ()


class Load(msgspec.Struct, frozen=True, tag=True):
    """Load a model; to be answered with `Loaded` or `Refused`.

    Attributes:
        files: What `folder_digest` says of rank 0's folder.
    """

    spec: LoadSpec
    files: str


class Insert(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """`LoadedEngine.insert`; a greedy sequence's draws go in one call with other greedy ones'."""

    sequence_id: int
    token_ids: list[int]
    num_prompt_tokens: int
    max_output_tokens: int
    is_greedy: bool
    is_scored: bool


class Fork(msgspec.Struct, frozen=True, tag=True):
    """`LoadedEngine.fork`."""

    source_id: int
    target_id: int
    num_tokens: int


class Retire(msgspec.Struct, frozen=True, tag=True):
    """`LoadedEngine.retire`."""

    sequence_id: int


class Remove(msgspec.Struct, frozen=True, tag=True):
    """`LoadedEngine.remove`."""

    sequence_id: int


class AddCheckpoint(msgspec.Struct, frozen=True, tag=True):
    """`LoadedEngine.add_checkpoint`."""

    sequence_id: int
    num_computed: int


class DropCheckpoint(msgspec.Struct, frozen=True, tag=True):
    """`LoadedEngine.drop_checkpoint`."""

    sequence_id: int
    num_tokens: int


class ClearPool(msgspec.Struct, frozen=True, tag=True):
    """`LoadedEngine.clear_pool`."""


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """A chunk of a step.

    Attributes:
        length: Tokens that the sequence has, of which `last_id` is the last: the ranks must have drawn the same.
        checkpoint_places: As the sequence has them.
    """

    sequence_id: int
    start: int
    num_tokens: int
    length: int
    last_id: int
    checkpoint_places: tuple[int, ...] = ()


class Step(msgspec.Struct, frozen=True, tag=True):
    """`LoadedEngine.step`.

    Attributes:
        prefill_tokens: How much of prompts it may evaluate, as rank 0 has measured it: clocks differ.
        score_tokens: The same of prompts whose likelihoods are told.
    """

    pieces: tuple[Piece, ...]
    evicted: tuple[int, ...]
    prefill_tokens: int
    score_tokens: int


class OpenEncoder(msgspec.Struct, frozen=True, tag=True):
    """`LoadedEngine.create_encoder`."""

    encoder_id: int
    pooling: Pooling
    max_tokens: int


class StartInput(msgspec.Struct, frozen=True, tag=True):
    """`Encoder.start`."""

    encoder_id: int
    token_ids: list[int]


class StepInput(msgspec.Struct, frozen=True, tag=True):
    """`Encoder.step`, of so many tokens."""

    encoder_id: int
    num_tokens: int


class CloseEncoder(msgspec.Struct, frozen=True, tag=True):
    """`Encoder.close`."""

    encoder_id: int


class Close(msgspec.Struct, frozen=True, tag=True):
    """`LoadedEngine.close`, also of a model that could not be loaded everywhere."""


Call = (
    Load
    | Insert
    | Fork
    | Retire
    | Remove
    | AddCheckpoint
    | DropCheckpoint
    | ClearPool
    | Step
    | OpenEncoder
    | StartInput
    | StepInput
    | CloseEncoder
    | Close
)


class Mirrored(msgspec.Struct, frozen=True):
    """One call.

    Attributes:
        engine_id: Which loaded model's.
        agreed: What all calls of that model before it have come to (`ledger`).
    """

    engine_id: int
    agreed: int
    call: Call


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """A rank has its share of the model."""


class Refused(msgspec.Struct, frozen=True, tag=True):
    """A rank cannot have it; the others go on without the model."""

    message: str


class Ending(msgspec.Struct, frozen=True, tag=True):
    """A rank ends, and the group with it."""

    message: str


Reply = Loaded | Refused | Ending
