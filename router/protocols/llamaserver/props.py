"""A loaded model and the server's defaults as llama-server's properties. Pure.

Source: llama.cpp, tools/server/README.md, "GET /props".
"""

from typing import Any

from backends.wire.messages import Hello, LoadedModel
from backends.wire.questions import Description
from router.models.defaults import RequestDefaults


def props_of(
    *,
    name: str,
    path: str,
    model: LoadedModel,
    hello: Hello | None,
    description: Description,
    defaults: RequestDefaults,
    version: str,
) -> dict[str, Any]:
    """Return the body of GET /props.

    Args:
        hello: What its worker said of its libraries.
    """
    libraries = {} if hello is None else hello.versions
    return {
        "default_generation_settings": {"params": _params(defaults), "n_ctx": model.context_length},
        "total_slots": model.max_sequences,
        "model_alias": name,
        "model_path": path,
        "modalities": {"vision": False, "video": False, "audio": False},
        "endpoint_slots": True,
        "endpoint_props": False,
        "endpoint_metrics": False,
        "chat_template": description.chat_template or "",
        "bos_token": description.bos_text,
        "eos_token": description.eos_text,
        "build_info": " ".join([f"mlxr-{version}", *(f"{library}-{number}" for library, number in libraries.items())]),
        "is_sleeping": False,
    }


def _params(defaults: RequestDefaults) -> dict[str, Any]:
    """Return the defaults by llama-server's names, with its -1 and 0 for "no limit"."""
    max_tokens = -1 if defaults.max_tokens is None else defaults.max_tokens
    return {
        "n_predict": max_tokens,
        "max_tokens": max_tokens,
        "temperature": defaults.temperature,
        "top_k": defaults.top_k or 0,
        "top_p": defaults.top_p,
        "min_p": defaults.min_p,
        "repeat_penalty": defaults.repetition_penalty,
        "stop": list(defaults.stop),
    }
