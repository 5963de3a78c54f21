"""Run by test_ollama_clients in the clients' own environment: ollama, unmodified. URL MODEL -> one line of JSON."""

import json
import sys

import ollama


def weather(town: str) -> str:
    """Tell the weather.

    Args:
        town: Where.
    """
    return f"12 degrees in {town}"


def main() -> None:
    url, model = sys.argv[1:]
    client = ollama.Client(host=url)
    greedy = ollama.Options(temperature=0, num_predict=8)
    messages = [ollama.Message(role="user", content="Name a colour.")]
    chat = client.chat(model, messages, options=greedy, keep_alive="5m")
    parts = list(client.chat(model, messages, options=greedy, stream=True))
    text = client.generate(model, "Name a colour.", options=greedy)
    text_parts = list(client.generate(model, "Name a colour.", options=greedy, stream=True))
    after = client.generate(model, "Another.", context=text.context, options=greedy)
    thinking = client.chat(model, messages, options=greedy, think=True)
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
    formed = client.chat(model, messages, format=schema, options={"temperature": 1, "seed": 1, "num_predict": 200})
    told = client.chat(model, messages, logprobs=True, top_logprobs=2, options=greedy)
    called = client.chat(model, messages, tools=[weather], options={"temperature": 0, "num_predict": 4})
    history = [
        *messages,
        {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": {"town": "Bonn"}}}]},
        {"role": "tool", "tool_name": "weather", "content": weather("Bonn")},
    ]
    answered = client.chat(model, history, tools=[weather], options=greedy)
    loaded = client.generate(model)
    running = client.ps().models
    shown = client.show(model)
    vectors = client.embed(model, ["a", "b"])
    old = client.embeddings(model, "a")
    unloaded = client.chat(model, [], keep_alive=0)
    try:
        client.chat("nope", messages)
    except ollama.ResponseError as exc:
        error = [exc.status_code, exc.error]
    print(
        json.dumps(
            {
                "chat": chat.message.content,
                "streamed": "".join(part.message.content for part in parts),
                "text": text.response,
                "text_streamed": "".join(part.response for part in text_parts),
                "done_reasons": [chat.done_reason, parts[-1].done_reason, loaded.done_reason, unloaded.done_reason],
                "counts": [chat.eval_count, text.eval_count, len(after.context) > len(text.context)],
                "thinking": thinking.done,
                "formed": json.loads(formed.message.content),
                "logprobs": [len(told.logprobs), len(told.logprobs[0].top_logprobs)],
                "called": called.done,
                "answered": answered.done,
                "listed": [each.model for each in client.list().models],
                "running": [[each.model, each.context_length, each.size_vram] for each in running],
                "capabilities": shown.capabilities,
                "context_length": shown.modelinfo["llama.context_length"],
                "num_vectors": len(vectors.embeddings),
                "is_same_vector": list(old.embedding) == list(vectors.embeddings[0]),
                "left": [each.model for each in client.ps().models],
                "error": error,
            }
        )
    )


if __name__ == "__main__":
    main()
