"""Run by test_ollama_clients in the clients' own environment: LangChain and LlamaIndex on their Ollama packages.

URL MODEL -> one line of JSON. Both are unmodified.
"""

import json
import sys

from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM
from llama_index.core.llms import ChatMessage
from llama_index.llms.ollama import Ollama

PROMPT = "Name a colour."


@tool  # type: ignore[untyped-decorator]
def weather(town: str) -> str:
    """Tell the weather of a town."""
    return f"12 degrees in {town}"


def langchain_results(url: str, model: str) -> dict[str, object]:
    chat = ChatOllama(model=model, base_url=url, temperature=0, num_predict=8, validate_model_on_init=False)
    whole = chat.invoke(PROMPT)
    parts = list(chat.stream(PROMPT))
    bound = chat.bind_tools([weather])
    call = {"name": "weather", "args": {"town": "Bonn"}, "id": "c1", "type": "tool_call"}
    history = [("human", PROMPT), ("ai", ""), ("human", PROMPT)]
    first = bound.invoke(history)
    first.tool_calls = [call]
    answered = bound.invoke([("human", PROMPT), first, weather.invoke(call)])
    return {
        "whole": whole.content,
        "streamed": "".join(part.content for part in parts),
        "usage": whole.usage_metadata["output_tokens"],
        "done_reason": whole.response_metadata["done_reason"],
        "answered": isinstance(answered.content, str),
        "text": OllamaLLM(model=model, base_url=url, temperature=0, num_predict=8).invoke(PROMPT),
        "num_vectors": len(OllamaEmbeddings(model=model, base_url=url).embed_documents(["a", "b"])),
    }


def llama_index_results(url: str, model: str) -> dict[str, object]:
    llm = Ollama(model=model, base_url=url, temperature=0, request_timeout=120, additional_kwargs={"num_predict": 8})
    messages = [ChatMessage(role="user", content=PROMPT)]
    *_, last = llm.stream_chat(messages)
    return {
        "whole": llm.chat(messages).message.content,
        "streamed": last.message.content,
        "completed": llm.complete(PROMPT).text,
        "context_window": llm.metadata.context_window,
    }


def main() -> None:
    url, model = sys.argv[1:]
    print(json.dumps({"langchain": langchain_results(url, model), "llama_index": llama_index_results(url, model)}))


if __name__ == "__main__":
    main()
