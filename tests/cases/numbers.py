"""Numbers, empty values and nulls as clients send them."""

from typing import Any, Final

from tests.cases.case import (
    CHAT,
    COMPLETIONS,
    FAKE,
    MESSAGES,
    OLLAMA_CHAT,
    OLLAMA_GENERATE,
    REAL,
    RESPONSES,
    Body,
    Case,
    ask,
    ask_all,
)

_OPENAI: Final = (CHAT, COMPLETIONS)
_OLLAMA: Final = (OLLAMA_CHAT, OLLAMA_GENERATE)


def _options(**options: Any) -> dict[str, Body]:
    return {path: {"options": {"num_predict": 2, **options}} for path in _OLLAMA}


def _openai(**fields: Any) -> dict[str, Body]:
    return dict.fromkeys(_OPENAI, fields)


def _everywhere(name: str, value: Any) -> dict[str, Body]:
    """Return a field that all protocols have under one name, among the options in Ollama's."""
    return {**_openai(**{name: value}), RESPONSES: {name: value}, MESSAGES: {name: value}, **_options(**{name: value})}


CASES: Final[list[Case]] = [
    # home-assistant/core, components/ollama: a NumberSelector's value is a float
    *ask_all("F4", "num_ctx 8192.0", _options(num_ctx=8192.0), engines=(*FAKE, *REAL)),
    *ask_all("F4", "num_ctx 8192.5", _options(num_ctx=8192.5), status=400, says=("num_ctx",)),
    *ask_all("F4", "num_predict 2.0", _options(num_predict=2.0)),
    *ask_all("F4", "top_k 40.0", _options(top_k=40.0)),
    *ask_all("F4", "seed 42.0", {**_options(seed=42.0), **_openai(seed=42.0)}),
    *ask_all("F4", "max_tokens 2.0", {**_openai(max_tokens=2.0), MESSAGES: {"max_tokens": 2.0}}),
    *ask_all("F4", "max_tokens 2.5", {**_openai(max_tokens=2.5), MESSAGES: {"max_tokens": 2.5}}, status=400),
    ask("F4", "max_output_tokens 2.0", RESPONSES, {"max_output_tokens": 2.0}),
    # huggingface/text-generation-inference#2222, microsoft/TaskWeaver#231
    *ask_all("F10", "top_p 0", _everywhere("top_p", 0), engines=(*FAKE, *REAL)),
    *ask_all("F10", "top_p 1.5", _everywhere("top_p", 1.5), status=400, says=("top_p",)),
    *ask_all("F10", "top_k -1", {**_openai(top_k=-1), **_options(top_k=-1)}, engines=(*FAKE, *REAL)),
    *ask_all("F10", "top_k 0", {**_openai(top_k=0), **_options(top_k=0)}),
    *ask_all("F10", "repeat_penalty 0", {**_openai(repeat_penalty=0), **_options(repeat_penalty=0)}),
    *ask_all("F11", "stop ''", {**_openai(stop=""), **_options(stop="")}),
    *ask_all("F11", "stop ['']", {**_openai(stop=[""]), **_options(stop=[""])}),
    *ask_all("F11", "include_usage null", _openai(stream=True, stream_options={"include_usage": None})),
    *ask_all("F11", "penalize_newline false", _options(penalize_newline=False)),
    *ask_all("F11", "num_gpu 99", _options(num_gpu=99), engines=REAL),
    *ask_all("F11", "num_gpu 1", _options(num_gpu=1), engines=REAL),
    # lmstudio-ai/lmstudio-bug-tracker#1829, abetlen/llama-cpp-python#111
    *ask_all("M5", "max_tokens -1", _openai(max_tokens=-1, stop=["e", "a", "i", "o", " "]), engines=(*FAKE, *REAL)),
    *ask_all("M5", "max_tokens 0", _openai(max_tokens=0), has={"usage.completion_tokens": 0}),
    *ask_all("M5", "max_tokens -2", _openai(max_tokens=-2), status=400, says=("max_tokens",)),
    ask("M5", "n_predict", COMPLETIONS, {"n_predict": 1, "max_tokens": ...}, has={"usage.completion_tokens": 1}),
    ask("M12", "reasoning_effort low", CHAT, {"reasoning_effort": "low"}, model="strict"),
    ask("M12", "reasoning.effort low", RESPONSES, {"reasoning": {"effort": "low"}}, model="strict"),
    # mudler/LocalAI#1946
    *ask_all("held", "nulls", _openai(temperature=None, seed=None, stop=None, logit_bias=None, n=None)),
    *ask_all("held", "seed -1", _openai(seed=-1)),
    *ask_all("held", "seed 2^32", _openai(seed=2**32)),
    *ask_all("held", "logit_bias {}", _openai(logit_bias={})),
    *ask_all("held", "logit_bias by texts of ids", _openai(logit_bias={"11": -100})),
    *ask_all("held", "penalties that are off", _openai(frequency_penalty=0, presence_penalty=0, repetition_penalty=1)),
    *ask_all("held", "min_p 0", _openai(min_p=0)),
    *ask_all("held", "n 2", _openai(n=2), has={"choices.1.index": 1}),
    ask("held", "tools null", CHAT, {"tools": None, "tool_choice": None}),
    ask("held", "tools []", CHAT, {"tools": [], "tool_choice": None}),
    ask(
        "held",
        "tool_choice none",
        CHAT,
        {"tools": [{"type": "function", "function": {"name": "a"}}], "tool_choice": "none"},
    ),
    ask("section 2", "both limits alike", CHAT, {"max_completion_tokens": 2}),
    ask("held", "both limits, not alike", CHAT, {"max_completion_tokens": 3}, status=400, says=("max_tokens",)),
    ask("held", "response_format text", CHAT, {"response_format": {"type": "text"}}),
    ask("held", "response_format null", CHAT, {"response_format": None}),
    ask("held", "store false", CHAT, {"store": False}),
    ask("section 2", "store true", CHAT, {"store": True}, ignored=("store",)),
    ask("section 2", "prediction", CHAT, {"prediction": {"type": "content", "content": "x"}}, ignored=("prediction",)),
    ask("section 2", "verbosity medium", CHAT, {"verbosity": "medium"}),
    ask(
        "held",
        "both limits",
        CHAT,
        {"max_tokens": None, "max_completion_tokens": 1},
        has={"usage.completion_tokens": 1},
    ),
    ask("held", "stream_options without stream", CHAT, {"stream_options": {"include_usage": True}}, status=400),
]
