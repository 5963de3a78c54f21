"""What a benchmark is asked to do, by the command line and by the API. Data only."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from router.bench.plan.prompts_file import MAX_PROMPTS, UserPrompt

DEFAULT_REPEATS: Final = 5
DEFAULT_MINUTES: Final = 5.0
MAX_MINUTES: Final = 24 * 60.0
MAX_REPEATS: Final = 1000
MAX_CONTESTANTS: Final = 8

Repeats = Annotated[int, Meta(ge=1, le=MAX_REPEATS)]
Minutes = Annotated[float, Meta(gt=0, le=MAX_MINUTES)]
NumParallel = Annotated[int, Meta(ge=2, le=64)]
Seed = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
MaxTokens = Annotated[int, Meta(ge=1, le=100_000)]
ContestantText = Annotated[str, Meta(min_length=1, max_length=512)]


class BenchOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run.

    Attributes:
        model: Name, alias or `NAME@ENGINE`.
        contestants: As users write them; () = both engines.
        scenarios: Names of those that are run; () = all, or the user's own prompts alone.
        max_tokens: Of the answers to the user's own prompts.
        seed: Of texts, order and statistics.
        quality: Whether answers and perplexities are compared as well.
    """

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    contestants: Annotated[tuple[ContestantText, ...], Meta(max_length=MAX_CONTESTANTS)] = ()
    scenarios: tuple[str, ...] = ()
    prompts: Annotated[tuple[UserPrompt, ...], Meta(max_length=MAX_PROMPTS)] = ()
    repeats: Repeats = DEFAULT_REPEATS
    minutes: Minutes = DEFAULT_MINUTES
    num_parallel: NumParallel = 4
    max_tokens: MaxTokens = 128
    seed: Seed = 0
    quality: bool = True


class BenchAssignment(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is told.

    Attributes:
        url: Of the server; `cert_file`, `unix_socket` and `token_file` as in `RunningInstance`.
        owner: Id of the key that the run is to belong to; None = the server's owner.
    """

    options: BenchOptions
    url: str
    cert_file: str | None = None
    unix_socket: str | None = None
    token_file: str | None = None
    owner: str | None = None
    database: str
