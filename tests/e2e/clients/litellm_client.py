"""Run by test_clients in the clients' own environment: litellm, unmodified. URL MODEL -> one line of JSON."""

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
        "model": f"openai/{model}",
        "api_base": url,
        "api_key": "none",
        "messages": [{"role": "user", "content": "Describe the fox."}],
        "temperature": 1,
        "seed": 4,
    }
    whole = litellm.completion(**common, max_tokens=12)
    parts = list(litellm.completion(**common, max_tokens=12, stream=True, stream_options={"include_usage": True}))
    tools = {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 400}
    called = litellm.completion(**common, **tools)
    streamed = litellm.stream_chunk_builder(list(litellm.completion(**common, **tools, stream=True)))
    vectors = litellm.embedding(model=f"openai/{model}", api_base=url, api_key="none", input=["a", "b"])
    calls = [answer.choices[0].message.tool_calls for answer in (called, streamed)]
    print(
        json.dumps(
            {
                "whole": whole.choices[0].message.content,
                "streamed": "".join(part.choices[0].delta.content or "" for part in parts if part.choices),
                "usage": whole.usage.completion_tokens,
                "finish": [answer.choices[0].finish_reason for answer in (whole, called, streamed)],
                "calls": [[[call.function.name, call.function.arguments] for call in group] for group in calls],
                "num_vectors": len(vectors.data),
            }
        )
    )


if __name__ == "__main__":
    main()
