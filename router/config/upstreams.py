"""The config's section about other servers whose models are served under this server's names; part of `schema`."""

import enum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from registry.settings import NonEmpty
from router.config.background import Seconds
from router.config.server import AbsolutePath

UpstreamName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9](?:[a-z0-9_-]{0,38}[a-z0-9])?$",
        description="a name of at most 40 characters: a-z, 0-9, _ and -, a letter or digit at both ends",
    ),
]
UpstreamURL = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^/\s?#@]+(/[^\s?#@]*)?$",
        max_length=2048,
        description="an address like http://10.0.0.2:8000 or https://api.example.com/v1, without user and password",
    ),
]
VariableName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Z_][A-Z0-9_]{0,127}$",
        description="the name of an environment variable, in capitals, which has the key; not the key itself",
    ),
]
Money = Annotated[float, Meta(ge=0, le=1e9)]


class UpstreamField(enum.StrEnum):
    """What a server may honour or not; temperature, top_p, stop and the length of an answer every one does."""

    SEED = "seed"
    FREQUENCY_PENALTY = "frequency_penalty"
    PRESENCE_PENALTY = "presence_penalty"
    LOGIT_BIAS = "logit_bias"
    LOGPROBS = "logprobs"
    TOOLS = "tools"
    RESPONSE_FORMAT = "response_format"
    REASONING_EFFORT = "reasoning_effort"
    IMAGES = "images"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    SUFFIX = "suffix"
    TOP_K = "top_k"
    MIN_P = "min_p"
    TYPICAL_P = "typical_p"
    REPETITION_PENALTY = "repetition_penalty"
    IGNORE_EOS = "ignore_eos"
    MIN_TOKENS = "min_tokens"
    STOP_TOKEN_IDS = "stop_token_ids"  # noqa: S105 - a field
    GRAMMAR = "grammar"
    REGEX = "regex"
    CHAT_TEMPLATE_KWARGS = "chat_template_kwargs"
    REASONING_CONTENT = "reasoning_content"
    CONTINUATION = "continuation"
    TOKEN_PROMPTS = "token_prompts"  # noqa: S105 - a field


class UpstreamConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One other server.

    Attributes:
        name: What it is called here: requests ask for it by `MODEL@upstream:NAME`.
        url: Its address, with the path before `/chat/completions` where that is not `/v1`.
        protocol: What it speaks: OpenAI's, as vLLM, llama-server, LM Studio and clouds do; Ollama's; or it is an mlxr.
        api_key_env: The environment variable of the server's process that has its key; None = by file, or no key.
        api_key_file: A file whose first line is its key.
        ca_file: Certificates to trust in place of the usual ones.
        models: Which of the models that it lists are served, by their ids or patterns with `*`; ids without `*` also
            where it lists nothing. None = all that it lists.
        names: What models are called here, with the ids that the upstream has for them.
        auto: Whether `engine: auto` may take it for a model that has files here, where it is measured as the faster.
        weight: Its share of the requests for a model that several upstreams have, beside the others' weights.
        parallel: Requests that it is given at a time; more wait here.
        honours: Fields that it honours beyond those its protocol or what it says of itself lets expect.
        lacks: Fields that it does not honour, though that would be expected: requests with them are refused.
        context_length: Tokens that its models hold, where it does not tell.
        connect_timeout_s: Longest wait for a connection.
        first_token_timeout_s: Longest wait from a request to the first token, a load over there included.
        inter_token_timeout_s: Longest silence within an answer.
        health_interval_s: How often it is asked whether it is there, and for its models.
        price_per_million_input: What a million tokens of prompts cost, in whatever currency.
        price_per_million_output: What a million tokens of answers cost, in the same currency.
        max_tokens_per_day: Tokens of prompts and answers that it is given on one day; None = as many as come.
        max_cost_per_day: What these may cost on one day; None = whatever they do.
    """

    name: UpstreamName
    url: UpstreamURL
    protocol: Literal["openai", "ollama", "mlxr"] = "openai"
    api_key_env: VariableName | None = None
    api_key_file: AbsolutePath | None = None
    ca_file: AbsolutePath | None = None
    models: tuple[NonEmpty, ...] | None = None
    names: dict[NonEmpty, NonEmpty] = {}
    auto: bool = False
    weight: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    parallel: Annotated[int, Meta(ge=1, le=1000)] = 16
    honours: tuple[UpstreamField, ...] = ()
    lacks: tuple[UpstreamField, ...] = ()
    context_length: Annotated[int, Meta(ge=16, le=100_000_000)] | None = None
    connect_timeout_s: Seconds = 5.0
    first_token_timeout_s: Seconds = 300.0
    inter_token_timeout_s: Seconds = 60.0
    health_interval_s: Annotated[float, Meta(ge=1, le=86_400)] = 30.0
    price_per_million_input: Money = 0.0
    price_per_million_output: Money = 0.0
    max_tokens_per_day: Annotated[int, Meta(ge=1)] | None = None
    max_cost_per_day: Money | None = None

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ValueError: Two places for the key, a field that is both honoured and lacked, or a ceiling without prices.
        """
        where = f"upstreams: '{self.name}'"
        if self.api_key_env is not None and self.api_key_file is not None:
            raise ValueError(f"{where} has both api_key_env and api_key_file; keep the one that has the key")
        both = sorted(set(self.honours) & set(self.lacks))
        if both:
            raise ValueError(f"{where} has {both[0]} in honours and in lacks; take it out of one of them")
        if self.max_cost_per_day is not None and not (self.price_per_million_input or self.price_per_million_output):
            raise ValueError(
                f"{where} has max_cost_per_day, and no price; set price_per_million_input and price_per_million_output"
            )


def check_upstreams(upstreams: tuple[UpstreamConfig, ...], needs: tuple[str, str | None]) -> None:
    """Refuse upstreams of one name, and an engine that is none of them.

    Args:
        needs: The key of the config that names an upstream as the engine, and the name; None = it names none.

    Raises:
        ValueError: The message begins with the key.
    """
    names = [each.name for each in upstreams]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"upstreams: '{twice}' is the name of two; give one of them another name")
    key, needed = needs
    if needed is not None and needed not in names:
        there = f"there are {', '.join(names)}" if names else "there are none"
        raise ValueError(f"{key}: there is no upstream '{needed}'; {there}")
