"""What the peers' own test suites expect of their paths and fields (peers 4 to 10)."""

import re
from typing import Any, Final

from tests.cases.case import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    HI,
    MESSAGES,
    OLLAMA_CHAT,
    OLLAMA_EMBED,
    OLLAMA_GENERATE,
    REAL,
    RESPONSES,
    TEMPLATE,
    Body,
    Case,
    Reply,
    Server,
    ask,
)

_THINKING: Final[Body] = {"type": "enabled", "budget_tokens": 100}
_INFILL: Final[Body] = {"input_prefix": "def f(", "input_suffix": "return 1", "n_predict": 2}
_ANTHROPIC: Final = {"anthropic-version": "2023-06-01"}
_STRANGE: Final = "of_tomorrow"
_OPEN: Final = (
    *(CHAT, COMPLETIONS, RESPONSES, MESSAGES, EMBEDDINGS, OLLAMA_CHAT, OLLAMA_GENERATE, OLLAMA_EMBED, TEMPLATE),
    *("/tokenize", CHAT + "/input_tokens", MESSAGES + "/count_tokens"),
)
_NESTED: Final[dict[str, Body]] = {
    CHAT: {"messages": [{**HI, _STRANGE: 1}]},
    RESPONSES: {"input": [{**HI, _STRANGE: 1}]},
    MESSAGES: {"messages": [{**HI, _STRANGE: 1}]},
    OLLAMA_CHAT: {"messages": [{**HI, _STRANGE: 1}]},
    OLLAMA_GENERATE: {"options": {"num_predict": 1, _STRANGE: 1}},
}


def _progress_rises(server: Server) -> None:
    """Of a prompt whose beginning is cached: `cache` stays, the first event says it, each says more than the last."""
    body = {"messages": [{"role": "user", "content": "What is the capital of France? " * 4}], "stream": True}
    for _ in range(2):
        reply = server.ask(CHAT, {**body, "return_progress": True})
        told = [event["prompt_progress"] for event in reply.events if "prompt_progress" in event]
        assert told, reply.text
        assert len({progress["cache"] for progress in told}) == 1, told
        assert told[0]["processed"] == told[0]["cache"], told
        processed = [progress["processed"] for progress in told]
        assert processed == sorted(set(processed)), told
        assert processed[-1] == told[-1]["total"], told


def _is_anthropics(kind: str) -> Any:
    def check(reply: Reply) -> None:
        assert reply.at("type") == "error"
        assert reply.at("error.type") == kind

    return check


def _goes_on(server: Server) -> None:
    """A begun answer is gone on from: the prompt ends with it."""
    messages = [HI, {"role": "assistant", "content": "The capital"}]
    fields = {"messages": messages, "continue_final_message": True, "add_generation_prompt": False}
    prompt = server.ask(TEMPLATE, fields)
    assert prompt.status == 200, prompt.text
    assert prompt.json["prompt"].endswith("The capital")
    reply = server.ask(CHAT, fields)
    assert reply.status == 200, reply.text


def _usage_chunk_has_timings(reply: Reply) -> None:
    (last,) = [event for event in reply.events if event.get("choices") == []]
    assert last["timings"]["prompt_n"] >= 0


def _ends_with(text: str) -> Any:
    def check(reply: Reply) -> None:
        assert reply.json["prompt"].endswith(text), reply.text

    return check


def _scores_the_prompt(reply: Reply) -> None:
    """OpenAI's legacy shape: nothing for the first token, a number for each other one."""
    logprobs = reply.at("choices.0.logprobs")
    assert logprobs["token_logprobs"][0] is None
    assert all(isinstance(number, float) for number in logprobs["token_logprobs"][1:])
    assert len(logprobs["tokens"]) == len(logprobs["token_logprobs"]) > 2


def _has_seed(reply: Reply) -> None:
    assert isinstance(reply.at("default_generation_settings.params.seed"), int)


def _is_of_today(reply: Reply) -> None:
    assert "Today: 26 Jul 2024" not in reply.json["prompt"]
    assert re.match(r"Today: \d\d \w{3} \d{4}\n", reply.json["prompt"])


def _begins_with_no_text(reply: Reply) -> None:
    """OpenAI's first event has an empty text, llama-server's none."""
    assert reply.events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}


def _strict(path: str) -> Case:
    strict = {"X-Mlxr-Strict": "true"}
    return ask(
        "fields",
        "an unknown field where it is strict",
        path,
        {_STRANGE: 1},
        headers=strict,
        status=400,
        says=(_STRANGE,),
    )


CASES: Final[list[Case]] = [
    *(ask("fields", "an unknown field", path, {_STRANGE: 1}, ignored=(_STRANGE,)) for path in _OPEN),
    *(ask("fields", "an unknown field inside", path, body, ignored=(_STRANGE,)) for path, body in _NESTED.items()),
    *(_strict(path) for path in _OPEN),
    ask("fields", "an unknown field of a stream", CHAT, {_STRANGE: 1, "stream": True}, ignored=(_STRANGE,)),
    ask(
        "fields",
        "what would change the answer is refused by name",
        CHAT,
        {"use_beam_search": True},
        status=400,
        says=("use_beam_search",),
    ),
    ask(
        "peers 4",
        "a model that is not there",
        "/v1/models/nope",
        headers=_ANTHROPIC,
        status=404,
        check=_is_anthropics("not_found_error"),
    ),
    ask(
        "peers 4",
        "a limit of 0",
        "/v1/models?limit=0",
        headers=_ANTHROPIC,
        status=400,
        check=_is_anthropics("invalid_request_error"),
    ),
    ask(
        "held",
        "a model that is not there",
        MESSAGES,
        {"model": "nope"},
        status=404,
        check=_is_anthropics("not_found_error"),
    ),
    Case(row="peers 6", name="return_progress", run=_progress_rises, engines=REAL),
    ask(
        "peers 7",
        "add_generation_prompt false",
        TEMPLATE,
        {"add_generation_prompt": False},
        check=_ends_with("<|im_end|>\n"),
    ),
    ask(
        "peers 7",
        "add_generation_prompt true",
        TEMPLATE,
        {"add_generation_prompt": True},
        check=_ends_with("assistant\n"),
    ),
    Case(row="M4", name="continue_final_message", run=_goes_on, engines=REAL),
    ask(
        "peers 9",
        "echo with logprobs",
        COMPLETIONS,
        {"prompt": "Say hi.", "echo": True, "logprobs": 1, "max_tokens": 1},
        check=_scores_the_prompt,
        engines=REAL,
    ),
    ask(
        "peers 9",
        "echo of tokens with logprobs and no answer",
        COMPLETIONS,
        {"prompt": [72, 105, 33], "echo": True, "logprobs": 1, "max_tokens": 0},
        check=_scores_the_prompt,
        engines=REAL,
    ),
    ask("peers 9", "prompt_logprobs", COMPLETIONS, {"prompt_logprobs": 1}, engines=REAL),
    ask(
        "peers 10",
        "timings of the usage chunk",
        CHAT,
        {"stream": True, "stream_options": {"include_usage": True}},
        check=_usage_chunk_has_timings,
    ),
    ask(
        "peers 10",
        "an answer that begins without a closed thought",
        TEMPLATE,
        {},
        model="switched",
        check=_ends_with("assistant\n"),
    ),
    ask(
        "peers 10",
        "enable_thinking false",
        TEMPLATE,
        {"chat_template_kwargs": {"enable_thinking": False}},
        model="switched",
        check=_ends_with("</think>"),
    ),
    ask("peers 10", "the seed of /props", "/props?model=tooled", check=_has_seed),
    ask("peers 10", "the date in a template", TEMPLATE, {}, model="switched", check=_is_of_today),
    ask("peers 10", "infilling without the tokens for it", "/infill", _INFILL, status=400, engines=REAL),
    ask("held", "the first event", CHAT, {"stream": True}, check=_begins_with_no_text),
    ask("held", "a budget of thoughts under 1024", MESSAGES, {"thinking": _THINKING, "max_tokens": 2000}, status=400),
    ask("held", "no messages", MESSAGES, {"messages": []}, status=400),
    ask("held", "a path that is not there", "/v1/nope", status=404, has={"error.code": "route_not_found"}),
    *(ask("peers 10", "without /v1", path) for path in ("/models", "/v1/health")),
    ask("peers 10", "without /v1", "/chat/completions", {"messages": [HI], "max_tokens": 1}),
    ask("peers 10", "without /v1", "/embeddings", {"input": "a"}),
    ask("peers 10", "llama-server's own", "/embedding", {"content": "a"}),
    *(
        ask(
            "peers 10",
            "llama-server's own",
            path,
            {"prompt": "Say", "n_predict": 2, "temperature": 0},
            says=('"content"', '"tokens_predicted":2'),
        )
        for path in ("/completion", "/completions")
    ),
    ask("peers 10", "LM Studio's list", "/api/v0/models"),
    ask("peers 10", "min_tokens", CHAT, {"min_tokens": 2, "max_tokens": 3}, engines=REAL),
    ask("peers 10", "stop_token_ids", CHAT, {"stop_token_ids": [2], "max_tokens": 3}, engines=REAL),
    ask("peers 10", "return_token_ids", CHAT, {"return_token_ids": True}, engines=REAL),
    ask(
        "peers 10",
        "structured_outputs",
        CHAT,
        {"structured_outputs": {"choice": ["yes", "no"]}, "max_tokens": 20},
        engines=REAL,
        says=("content",),
    ),
    ask(
        "peers 10",
        "continuous_usage_stats",
        CHAT,
        {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    ),
    ask(
        "F8",
        "a chat without a template is the client's mistake",
        CHAT,
        {},
        model="untemplated",
        engines=REAL,
        status=400,
        says=("template",),
    ),
    ask("F8", "a template in chat_template.json", CHAT, {}, model="json-templated", engines=("mlx",)),
    ask("F7", "Infinity in config.json", CHAT, {}, model="infinite", engines=("mlx",)),
]
