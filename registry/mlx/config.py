"""The JSON files of an MLX model folder, read with limits and looked up by type.

Not here: the weights (`safetensors.py`) and the facts that follow (`folder.py`).

Source: Hugging Face transformers, PretrainedConfig and PreTrainedTokenizerBase: the keys and their older synonyms.
"""

import json
from pathlib import Path
from typing import Any, Final

from registry.errors import ArtifactError, MLXDirError
from registry.files import LFS_MARK, LFS_REASON, read_small

MAX_CONFIG_BYTES: Final = 4 << 20
"""Configs with a quantization entry per layer reach some 100 KB; tokenizer_config.json, with its added tokens, 1 MB."""

MAX_INDEX_BYTES: Final = 16 << 20
"""model.safetensors.index.json: about 100 bytes per tensor."""

MAX_TEMPLATE_BYTES: Final = 1 << 20

SYNONYMS: Final = {
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers"),
    "num_attention_heads": ("n_head", "n_heads"),
    "num_key_value_heads": ("num_kv_heads", "multi_query_group_num"),
    "hidden_size": ("n_embd", "d_model", "model_dim"),
    "max_position_embeddings": ("n_positions", "max_seq_len", "seq_length", "model_max_length"),
    "num_local_experts": ("num_experts", "n_routed_experts", "moe_num_experts"),
    "num_experts_per_tok": ("num_experts_per_token", "moe_topk"),
}
"""Current key -> keys that mean the same in older or other architectures."""


class Config:
    """Typed look-ups in one JSON object; a value of another type counts as absent."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        nested = values.get("text_config")
        self._nested = nested if isinstance(nested, dict) else {}

    def get(self, key: str) -> object:
        """Give a value by its key or a synonym; a model with vision keeps its language model's under `text_config`."""
        for name in (key, *SYNONYMS.get(key, ())):
            for source in (self.values, self._nested):
                if source.get(name) is not None:
                    value: object = source[name]
                    return value
        return None

    def integer(self, key: str) -> int | None:
        """Give a non-negative whole number below 2^63, or None."""
        value = self.get(key)
        is_number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63
        return value if is_number and isinstance(value, int) else None

    def integers(self, key: str) -> tuple[int, ...]:
        """Give the whole numbers of a list, or of a single number, as `integer` does."""
        value = self.get(key)
        items = value if isinstance(value, list) else [value]
        return tuple(
            item for item in items if isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 1 << 63
        )

    def text(self, key: str) -> str | None:
        """Give a text, or None."""
        value = self.get(key)
        return value if isinstance(value, str) and value else None

    def section(self, key: str) -> dict[str, Any] | None:
        """Give an object, or None."""
        value = self.get(key)
        return value if isinstance(value, dict) else None


def read_object(folder: Path, name: str, max_bytes: int = MAX_CONFIG_BYTES) -> dict[str, Any] | None:
    """Read a JSON object from a file of the folder; None when there is no such file.

    As Python's own reader does, and with it mlx-lm: `Infinity` and `NaN`, which configs of Mamba 2 have, are numbers.

    Raises:
        MLXDirError: bad_json: the file is no JSON object. lfs_pointer.
        ArtifactError: The file cannot be read or is too large.
    """
    try:
        data = read_small(folder / name, max_bytes)
        if data.startswith(LFS_MARK):
            raise MLXDirError("lfs_pointer", LFS_REASON, file=name, path=folder)
        values: object = json.loads(data)
    except ArtifactError as exc:
        if exc.code == "not_found":
            return None
        raise
    except (ValueError, RecursionError) as exc:
        raise MLXDirError("bad_json", f"this is not a JSON object: {exc}", file=name, path=folder) from exc
    if not isinstance(values, dict):
        raise MLXDirError("bad_json", "this is not a JSON object", file=name, path=folder)
    return values


def read_chat_template(folder: Path | str) -> str | None:
    """Give the Jinja source of the chat template; None when there is none or it is larger than MAX_TEMPLATE_BYTES.

    Source: transformers, PreTrainedTokenizerBase: chat_template.jinja, then the key `chat_template` of
    tokenizer_config.json, which is a text or a list of named templates. Then chat_template.json, where processors have
    theirs: of some models nothing else has one, and the engine takes it too.

    Raises:
        ArtifactError: As `read_object`.
    """
    folder = Path(folder)
    try:
        return read_small(folder / "chat_template.jinja", MAX_TEMPLATE_BYTES).decode("utf-8", "replace")
    except ArtifactError as exc:
        if exc.code == "too_large":
            return None
        if exc.code != "not_found":
            raise
    for name in ("tokenizer_config.json", "chat_template.json"):
        template = _default_template((read_object(folder, name) or {}).get("chat_template"))
        if template is not None:
            return template if len(template) <= MAX_TEMPLATE_BYTES else None
    return None


def _default_template(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        named = {item.get("name"): item.get("template") for item in value if isinstance(item, dict)}
        template = named.get("default")
        return template if isinstance(template, str) else None
    return None
