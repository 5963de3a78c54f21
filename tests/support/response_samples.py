"""For every row of the capabilities of responses a request that uses it; as in `capability_samples`."""

from typing import Any, Final

Body = dict[str, Any]

PATH: Final = "/v1/responses"
PLAIN: Final[Body] = {"input": "Say hello.", "max_output_tokens": 6, "temperature": 0}

WEATHER_TOOL: Final[Body] = {
    "type": "function",
    "name": "get_weather",
    "description": "Tell the weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}
_CITY_FORMAT: Final[Body] = {
    "type": "json_schema",
    "name": "city",
    "strict": True,
    "schema": {
        "type": "object",
        "properties": {"big": {"type": "boolean"}},
        "required": ["big"],
        "additionalProperties": False,
    },
}
_LOGPROBS: Final = ["message.output_text.logprobs"]

HONOURED: Final[dict[str, Body]] = {
    "model": {},
    "input": {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}]},
    "instructions": {"instructions": "Be brief."},
    "previous_response_id": {"previous_response_id": None},  # what it goes on from is a test of its own
    "conversation": {"conversation": None},  # so is a kept one
    "store": {"store": False},
    "background": {"background": True},
    "stream": {"stream": True},
    "include": {"include": _LOGPROBS},
    "truncation": {"truncation": "auto"},
    "context_management": {"context_management": [{"type": "compaction", "compact_threshold": 4000}]},
    "max_output_tokens": {"max_output_tokens": 2},
    "max_tool_calls": {"max_tool_calls": 3},
    "temperature": {"temperature": 0.7, "seed": 1},
    "top_p": {"temperature": 1, "top_p": 0.5, "seed": 1},
    "top_k": {"temperature": 1, "top_k": 5, "seed": 1},
    "min_p": {"temperature": 1, "min_p": 0.2, "seed": 1},
    "seed": {"temperature": 1, "seed": 7},
    "frequency_penalty": {"frequency_penalty": 1.5},
    "presence_penalty": {"presence_penalty": -1.5},
    "repetition_penalty": {"repetition_penalty": 1.3},
    "top_logprobs": {"include": _LOGPROBS, "top_logprobs": 3},
    "text.format": {"text": {"format": _CITY_FORMAT}, "max_output_tokens": 60},
    "reasoning.effort": {"reasoning": {"effort": "low"}},
    "tools": {"tools": [WEATHER_TOOL]},
    "tool_choice": {
        "tools": [WEATHER_TOOL],
        "tool_choice": {"type": "function", "name": "get_weather"},
        "max_output_tokens": 60,
    },
    "parallel_tool_calls": {"tools": [WEATHER_TOOL], "parallel_tool_calls": False},
    "service_tier": {"service_tier": "flex"},
    "prompt_cache_key": {"prompt_cache_key": "x"},
    "prompt_cache_retention": {"prompt_cache_retention": "24h"},
    "metadata": {"metadata": {"a": "b"}},
    "user": {"user": "me"},
    "mlxr": {"mlxr": {"image_side_px": 256}},
    "chat_template_kwargs": {"chat_template_kwargs": {"colour": "red"}},
    "return_progress": {"stream": True, "return_progress": True},
    "timings_per_token": {"stream": True, "timings_per_token": True},
    "safety_identifier": {"safety_identifier": "x"},
    "client_metadata": {"client_metadata": {"turn_id": "x"}},
    "access_programs": {"access_programs": {"cyber": "standard"}},
}
"""Requests that must be served, or refused because of the model: `MODEL_DEPENDENT`."""

MODEL_DEPENDENT: Final = frozenset(
    {"chat_template_kwargs", "reasoning.effort", "tools", "tool_choice", "parallel_tool_calls"}
)

REFUSED: Final[dict[str, tuple[Body, str]]] = {
    "stream_options.include_obfuscation": (
        {"stream": True, "stream_options": {"include_obfuscation": True}},
        "stream_options.include_obfuscation",
    ),
    "text.verbosity": ({"text": {"verbosity": "low"}}, "text.verbosity"),
    "reasoning.summary": ({"reasoning": {"summary": "detailed"}}, "reasoning.summary"),
    "reasoning.context": ({"reasoning": {"context": "all_turns"}}, "reasoning.context"),
    "reasoning.mode": ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
    "reasoning.generate_summary": ({"reasoning": {"generate_summary": "concise"}}, "reasoning.generate_summary"),
    "prompt": ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    "moderation": ({"moderation": {"model": "x"}}, "moderation"),
    "prompt_cache_options": ({"prompt_cache_options": {"mode": "explicit"}}, "prompt_cache_options"),
    "image": ({"image": {"context_compression": "auto"}}, "image"),
}
"""Per field that is not honoured: a request that asks for it, and the `param` of the 400 `unsupported_parameter`."""

REFUSED_PARTS: Final[dict[str, tuple[Body, str]]] = {
    "a file by its address": (
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://example.com/a.pdf"}]}]},
        "input[0].content[0].file_url",
    ),
    "a choice of a hosted tool": ({"tool_choice": {"type": "file_search"}}, "tool_choice.type"),
    "another server's compaction": (
        {"input": [{"type": "compaction", "encrypted_content": "gAAAA"}]},
        "input[0].encrypted_content",
    ),
    "a compaction in the place of an answer": ({"input": [{"type": "compaction_trigger"}]}, "input[0].type"),
    "results of a search": ({"include": ["file_search_call.results"]}, "include"),
}
"""Items, tools and inclusions that are refused by name."""
