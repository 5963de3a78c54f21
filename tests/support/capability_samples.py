"""For every row of the table of capabilities a request that uses it: what the table says is then tried, on any engine.

A sample is the part of a body that is laid over a plain request of its endpoint (`PLAIN`).
"""

from typing import Any, Final

Body = dict[str, Any]

CHAT: Final = "chat"
COMPLETIONS: Final = "completions"

PLAIN: Final[dict[str, Body]] = {
    CHAT: {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 6, "temperature": 0},
    COMPLETIONS: {"prompt": "Say hello.", "max_tokens": 6, "temperature": 0},
}
PATHS: Final = {CHAT: "/v1/chat/completions", COMPLETIONS: "/v1/completions"}

WEATHER_TOOL: Final[Body] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
_CALLS: Final[list[Body]] = [
    {"role": "user", "content": "How is the weather in Rome?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
]
_CITY_FORMAT: Final[Body] = {
    "type": "json_schema",
    "json_schema": {
        "name": "city",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"big": {"type": "boolean"}},
            "required": ["big"],
            "additionalProperties": False,
        },
    },
}

_CONTINUED: Final[Body] = {
    "messages": [{"role": "user", "content": "Say hello."}, {"role": "assistant", "content": "Hel"}],
    "continue_final_message": True,
    "add_generation_prompt": False,
}

_SHARED: Final[dict[str, Body]] = {
    "model": {},
    "mlxr": {"mlxr": {"image_side_px": 256}},
    "stream": {"stream": True},
    "stream_options.include_usage": {"stream": True, "stream_options": {"include_usage": True}},
    "temperature": {"temperature": 0.7, "seed": 1},
    "top_p": {"temperature": 1, "top_p": 0.5, "seed": 1},
    "top_k": {"temperature": 1, "top_k": 5, "seed": 1},
    "min_p": {"temperature": 1, "min_p": 0.2, "seed": 1},
    "typical_p": {"temperature": 1, "typical_p": 0.5, "seed": 1},
    "frequency_penalty": {"frequency_penalty": 1.5},
    "presence_penalty": {"presence_penalty": -1.5},
    "repetition_penalty": {"repetition_penalty": 1.3},
    "repeat_penalty": {"repeat_penalty": 1.3},
    "repeat_last_n": {"repetition_penalty": 1.3, "repeat_last_n": 8},
    "repetition_context_size": {"repetition_penalty": 1.3, "repetition_context_size": 8},
    "logit_bias": {"logit_bias": {"65": 100}, "max_tokens": 3},
    "seed": {"temperature": 1, "seed": 7},
    "max_tokens": {"max_tokens": 2},
    "n_predict": {"max_tokens": None, "n_predict": 2},
    "stop": {"stop": ["e", "a"]},
    "ignore_eos": {"ignore_eos": True},
    "n": {"n": 3, "temperature": 1, "seed": 1},
    "prompt_logprobs": {"prompt_logprobs": 2},
    "min_tokens": {"min_tokens": 4},
    "stop_token_ids": {"stop_token_ids": [65, 66]},
    "return_token_ids": {"return_token_ids": True},
    **{
        f"structured_outputs.{name}": {"structured_outputs": {name: value}}
        for name, value in (
            ("json", {"type": "boolean"}),
            ("regex", "[0-9]{3}"),
            ("choice", ["yes", "no"]),
            ("grammar", 'root ::= "yes" | "no"'),
            ("json_object", True),
        )
    },
    "structured_outputs.disable_fallback": {"structured_outputs": {"regex": "[0-9]{3}", "disable_fallback": True}},
    "stream_options.continuous_usage_stats": {
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    },
    "return_progress": {"stream": True, "return_progress": True},
    "timings_per_token": {"stream": True, "timings_per_token": True},
    "response_format": {"response_format": _CITY_FORMAT, "max_tokens": 60},
    "json_schema": {"json_schema": {"type": "boolean"}, "max_tokens": 10},
    "grammar": {"grammar": 'root ::= "yes" | "no"'},
    "regex": {"regex": "[0-9]{3}"},
    "service_tier": {"service_tier": "flex"},
    "prompt_cache_key": {"prompt_cache_key": "x"},
    "cache_prompt": {"cache_prompt": False},
    "id_slot": {"id_slot": 0},
    "user": {"user": "me"},
    "metadata": {"metadata": {"a": "b"}},
    "dynatemp_exponent": {"dynatemp_exponent": 1.0},
    "xtc_threshold": {"xtc_threshold": 0.1},
    "dry_base": {"dry_base": 1.75},
    "dry_allowed_length": {"dry_allowed_length": 2},
    "dry_penalty_last_n": {"dry_penalty_last_n": -1},
    "dry_sequence_breakers": {"dry_sequence_breakers": ["."]},
    "mirostat_tau": {"mirostat_tau": 5.0},
    "mirostat_eta": {"mirostat_eta": 0.1},
    "num_draft_tokens": {"num_draft_tokens": 3},
}

_OF_PARTS: Final[Body] = {
    "refusal": "no",
    "thinking": "hm",
    "signature": "x",
    "cache_control": {"type": "ephemeral"},
    "annotations": [],
}
_OF_ANSWERS: Final[Body] = {
    "refusal": "no",
    "reasoning": "hm",
    "reasoning_details": [{"type": "reasoning.text", "text": "hm"}],
    "function_call": {"name": "f", "arguments": "{}"},
    "audio": {"id": "a"},
    "annotations": [{}],
    "cache_control": {"type": "ephemeral"},
}


def _answered(**fields: Any) -> Body:
    answer = {"role": "assistant", "content": "Hi", **fields}
    return {"messages": [{"role": "user", "content": "Hello"}, answer, {"role": "user", "content": "Bye"}]}


def _part_of_old(**fields: Any) -> Body:
    return _answered(content=[{"type": "text", "text": "Hi", **fields}])


def _with_earlier_image(**fields: str) -> Body:
    """Return a chat in which a picture lies behind the question: models that cannot see are told of it in words."""
    image = {"type": "input_image"} | fields
    turns = [("user", [image]), ("assistant", "A dog."), ("user", "Are you sure?")]
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


HONOURED: Final[dict[str, dict[str, Body]]] = {
    CHAT: _SHARED
    | {
        "store": {"store": True},
        "prediction": {"prediction": {"type": "content", "content": "x"}},
        "messages": {"messages": [{"role": "user", "content": "Hello"}]},
        "messages[].role": {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Hi"},
                {"role": "user", "content": "Bye"},
            ]
        },
        **{
            f"messages[].content[].{name}": _with_earlier_image(**{name: value})
            for name, value in {"image_url": "data:image/png;base64,AA", "file_id": "file-1", "detail": "low"}.items()
        },
        "messages[].content[].file": {
            "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": "eA=="}}]}]
        },
        "messages[].content": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]},
        "messages[].content[].type": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]},
        "messages[].content[].text": {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
        "messages[].name": {"messages": [{"role": "user", "content": "Hello", "name": "eve"}]},
        "messages[].reasoning_content": {
            "messages": [
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Hi", "reasoning_content": "hm"},
                {"role": "user", "content": "Bye"},
            ]
        },
        "messages[].tool_calls": {"messages": _CALLS, "tools": [WEATHER_TOOL]},
        "messages[].tool_call_id": {"messages": _CALLS, "tools": [WEATHER_TOOL]},
        **{f"messages[].content[].{name}": _part_of_old(**{name: value}) for name, value in _OF_PARTS.items()},
        **{f"messages[].{name}": _answered(**{name: value}) for name, value in _OF_ANSWERS.items()},
        "messages[].parsed": {
            "messages": [
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "{}", "parsed": {}},
                {"role": "user", "content": "Bye"},
            ]
        },
        "max_completion_tokens": {"max_tokens": None, "max_completion_tokens": 2},
        "logprobs": {"logprobs": True},
        "top_logprobs": {"logprobs": True, "top_logprobs": 3},
        "reasoning_effort": {"reasoning_effort": "low"},
        "enable_thinking": {"enable_thinking": False},
        "chat_template_kwargs": {"chat_template_kwargs": {"enable_thinking": False}},
        "reasoning_format": {"reasoning_format": "none"},
        "continue_final_message": _CONTINUED,
        "add_generation_prompt": {"add_generation_prompt": False},
        "tools": {"tools": [WEATHER_TOOL]},
        "tool_choice": {"tools": [WEATHER_TOOL], "tool_choice": "required", "max_tokens": 60},
        "parallel_tool_calls": {"tools": [WEATHER_TOOL], "parallel_tool_calls": False},
        "safety_identifier": {"safety_identifier": "x"},
        "prompt_cache_retention": {"prompt_cache_retention": "24h"},
    },
    COMPLETIONS: _SHARED
    | {
        "prompt": {"prompt": ["Hello", "Bye"]},
        "logprobs": {"logprobs": 2},
        "echo": {"echo": True, "logprobs": 2},
        "suffix": {"suffix": "goodbye"},
    },
}
"""Requests that must be served, or refused because of the model (its template, no infill tokens): `MODEL_DEPENDENT`."""

MODEL_DEPENDENT: Final = frozenset(
    {
        *("suffix", "reasoning_effort", "enable_thinking", "chat_template_kwargs"),
        *("tools", "tool_choice", "parallel_tool_calls", "messages[].tool_calls", "messages[].tool_call_id"),
    }
)
"""Fields that a model may have no means for: then the answer is 400 `unsupported_parameter`."""


def _part(kind: str, **fields: Any) -> Body:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", kind: fields}]}]}


_OF_PEERS: Final[Body] = {
    "dynatemp_range": 0.5,
    "xtc_probability": 0.5,
    "dry_multiplier": 0.8,
    "mirostat": 2,
    "tfs_z": 0.9,
    "top_n_sigma": 1.0,
    "samplers": ["top_k"],
    "min_keep": 2,
    "allowed_token_ids": [1],
    "bad_words": ["x"],
    "length_penalty": 2.0,
    "early_stopping": True,
    "guided_json": {},
    "guided_regex": "x",
    "guided_choice": ["x"],
    "guided_grammar": "x",
    "include_stop_str_in_output": True,
    "skip_special_tokens": False,
    "spaces_between_special_tokens": False,
    "t_max_predict_ms": 5,
    "n_indent": 2,
    "n_probs": 1,
    "post_sampling_probs": True,
    "chat_template": "{{ x }}",
    "documents": [{}],
    "truncate_prompt_tokens": 5,
    "lora": [{"id": 0, "scale": 1}],
    "adapters": "/x",
    "draft_model": "x",
}

REFUSED: Final[dict[str, tuple[Body, str]]] = {
    **{name: ({name: value}, name) for name, value in _OF_PEERS.items()},
    "stream_options.include_obfuscation": (
        {"stream": True, "stream_options": {"include_obfuscation": True}},
        "stream_options.include_obfuscation",
    ),
    "best_of": ({"best_of": 2}, "best_of"),
    "use_beam_search": ({"use_beam_search": True}, "use_beam_search"),
    **{
        f"structured_outputs.{name}": (
            {"structured_outputs": {"regex": "[0-9]", name: value}},
            f"structured_outputs.{name}",
        )
        for name, value in (
            ("structural_tag", "{}"),
            ("disable_any_whitespace", True),
            ("disable_additional_properties", True),
            ("whitespace_pattern", " ?"),
        )
    },
    "verbosity": ({"verbosity": "low"}, "verbosity"),
    "modalities": ({"modalities": ["text", "audio"]}, "modalities"),
    "audio": ({"audio": {"voice": "alloy", "format": "mp3"}}, "audio"),
    "web_search_options": ({"web_search_options": {}}, "web_search_options"),
    "functions": ({"functions": [{"name": "f"}]}, "functions"),
    "function_call": ({"function_call": {"name": "f"}}, "function_call"),
    "messages[].content[].input_audio": (_part("input_audio", data="x"), "messages[0].content[0].input_audio"),
    "messages[].content[].video_url": (_part("video_url", url="file:///x"), "messages[0].content[0].video_url"),
}
"""Per field that is not honoured: a request that asks for it, and the `param` of the 400 `unsupported_parameter`."""
