"""Run by test_winding in the clients' own environment: openai, ollama, litellm, unmodified. URL MODEL BODIES -> JSON.

BODIES is a file: per API a list of requests, each with all of the history before it.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # no look at the internet at import

import litellm
import ollama
import openai

WIND = {"X-Mlxr-Context": "wind"}


def chats(url: str, model: str, bodies: list[dict[str, Any]]) -> list[str]:
    texts = []
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, default_headers=WIND) as client:
        for body in bodies:
            whole = client.chat.completions.create(**body, model=model, max_tokens=16)
            texts.append(whole.choices[0].message.content)
            with client.chat.completions.stream(**body, model=model, max_tokens=16) as stream:
                texts.append(stream.get_final_completion().choices[0].message.content)
    return texts


def responses(url: str, model: str, bodies: list[dict[str, Any]]) -> list[str]:
    texts = []
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, default_headers=WIND) as client:
        for body in bodies:
            texts.append(client.responses.create(**body, model=model, max_output_tokens=16).output_text)
            with client.responses.stream(**body, model=model, max_output_tokens=16) as stream:
                texts.append(stream.get_final_response().output_text)
    return texts


def ollamas(url: str, model: str, bodies: list[dict[str, Any]]) -> list[str]:
    client = ollama.Client(host=url, headers=WIND)
    texts = []
    for body in bodies:
        texts.append(client.chat(model, **body, options={"num_predict": 16}).message.content)
        parts = client.chat(model, **body, options={"num_predict": 16}, stream=True)
        texts.append("".join(part.message.content for part in parts))
    return texts


def anthropics(url: str, model: str, bodies: list[dict[str, Any]]) -> list[str]:
    """Return what litellm gets, which turns chats into Anthropic's messages."""
    texts = []
    for body in bodies:
        common = {**body, "model": f"anthropic/{model}", "api_base": url, "api_key": "none", "extra_headers": WIND}
        whole = litellm.completion(**common, max_tokens=16)
        texts.append(whole.choices[0].message.content)
        parts = litellm.completion(**common, max_tokens=16, stream=True)
        texts.append("".join(part.choices[0].delta.content or "" for part in parts if part.choices))
    return texts


def main() -> None:
    url, model, file = sys.argv[1:]
    bodies = json.loads(Path(file).read_text())
    print(
        json.dumps(
            {
                "chat": chats(url, model, bodies["chat"]),
                "responses": responses(url, model, bodies["responses"]),
                "ollama": ollamas(url, model, bodies["ollama"]),
                "litellm": anthropics(url, model, bodies["chat"]),
            }
        )
    )


if __name__ == "__main__":
    main()
