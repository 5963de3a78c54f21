"""Run by test_anthropic_litellm in the clients' own environment: litellm's Anthropic provider. URL MODEL -> JSON."""

import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # no look at the internet at import

import litellm

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string", "maxLength": 6}},
            "required": ["town"],
            "additionalProperties": False,
        },
    },
}


def main() -> None:
    url, model = sys.argv[1:]
    common = {
        "model": f"anthropic/{model}",
        "api_base": url.removesuffix("/v1"),
        "api_key": "none",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Describe the fox."},
        ],
        "temperature": 0,
    }
    whole = litellm.completion(**common, max_tokens=12)
    parts = list(litellm.completion(**common, max_tokens=12, stream=True))
    tools = {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 400}
    called = litellm.completion(**common, **tools)
    streamed = litellm.stream_chunk_builder(list(litellm.completion(**common, **tools, stream=True)))
    calls = [answer.choices[0].message.tool_calls for answer in (called, streamed)]
    print(
        json.dumps(
            {
                "whole": whole.choices[0].message.content,
                "streamed": "".join(part.choices[0].delta.content or "" for part in parts if part.choices),
                "usage": whole.usage.completion_tokens,
                "finish": [answer.choices[0].finish_reason for answer in (whole, called, streamed)],
                "calls": [[[call.function.name, call.function.arguments] for call in group] for group in calls],
            }
        )
    )


if __name__ == "__main__":
    main()
