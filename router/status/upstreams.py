"""What a gateway says of its upstreams. Light on purpose: the command line imports it."""

import msgspec


class UpstreamModelStatus(msgspec.Struct, frozen=True):
    """A model that an upstream has: its name here, and what the upstream calls it."""

    name: str
    model_id: str
    context_length: int | None


class UpstreamStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one upstream stands.

    Attributes:
        url: As the config has it.
        state: `closed` = it is asked; `open` = it has failed and is left alone; `trying` = the next request tells;
            `refused` = it does not take its key, or there is none.
        is_asked: Whether requests go there now: not past a ceiling either.
        why: Why it is not asked now, or what went wrong last; null = nothing did.
        wait_s: For how long it is left alone.
        num_running: Sequences that it has, and `num_waiting` those that wait for a place there.
        num_answered: Answers that came to their ends since the start, and `num_failed` requests that it failed at.
        tokens_today: Tokens of prompts and answers that it was given today, and `cost_today` what they cost by the
            config's prices; `max_tokens_per_day` and `max_cost_per_day` are its ceilings, null = there is none.
        checked_at: When it last answered a look at its health, seconds since 1970; null = never.
        models: Those that are for whoever asks.
    """

    name: str
    url: str
    protocol: str
    state: str
    is_asked: bool
    why: str | None
    wait_s: float
    num_running: int
    num_waiting: int
    num_answered: int
    num_failed: int
    checked_at: float | None
    tokens_today: int = 0
    cost_today: float = 0.0
    max_tokens_per_day: int | None = None
    max_cost_per_day: float | None = None
    models: list[UpstreamModelStatus]
