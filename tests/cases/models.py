"""The models that cases are asked on: tiny ones of each format, with templates as other models have them."""

import json
from pathlib import Path
from typing import Final

from tests.support import tiny_model
from tests.support.tiny_vision.model import write_vision_model

ALIAS: Final = "llama3.2:1b"
LISTED_ORIGINS: Final = ["app://obsidian.md", "tauri://localhost", "moz-extension://*"]
"""Of applications, in the config."""
CONTEXT_LENGTH: Final = 8192

# As Qwen 3.5's: one system message, and only as the first.
_STRICT: Final = (
    "{% for m in messages %}"
    "{% if m.role == 'system' and not loop.first %}{{ raise_exception('System message must be at the beginning.') }}"
    "{% endif %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# As Gemma 2's and old Mistrals': no system message at all, and users and assistants in turns.
_ALTERNATING: Final = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# As QwQ's and Command R7B's: without the variable, the answer begins with a closed thought. The date as Llama 3's.
_SWITCHED: Final = (
    "Today: {{ date_string | default('26 Jul 2024') }}\n"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if not enable_thinking %}<think></think>{% endif %}"
    "{% endif %}"
)

TEMPLATES: Final = {"strict": _STRICT, "alternating": _ALTERNATING, "switched": _SWITCHED}
"""Models by the template that is set on them; all others have `TOOL_TEMPLATE` of their own."""


def write_models(folder: Path, engine: str) -> dict[str, Path]:
    """Write the models of an engine; the fake one opens none, and has them as GGUF.

    Returns:
        Name -> file or folder.
    """
    write = _write_mlx if engine == "mlx" else _write_gguf
    models = {name: write(folder, name, tiny_model.TOOL_TEMPLATE) for name in ("tooled", *TEMPLATES)}
    models["untemplated"] = write(folder, "untemplated", None)
    models["seeing"] = write_vision_model(folder / "seeing", "llava").path_for(engine)
    if engine == "mlx":
        models |= {"infinite": _with_infinity(folder), "json-templated": _with_json_template(folder)}
    return models


def _write_gguf(folder: Path, name: str, template: str | None) -> Path:
    file = folder / f"{name}.gguf"
    return tiny_model.write_gguf(file, name=name, chat_template=template, context_length=CONTEXT_LENGTH)


def _write_mlx(folder: Path, name: str, template: str | None) -> Path:
    return tiny_model.write_mlx(folder / name, name=name, chat_template=template, context_length=CONTEXT_LENGTH)


def _with_infinity(folder: Path) -> Path:
    """Write a config as Nemotron's are: Python's json writes and reads `Infinity`."""
    model = _write_mlx(folder, "infinite", tiny_model.TOOL_TEMPLATE)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"time_step_limit": [0.0, float("inf")]}))
    return model


def _with_json_template(folder: Path) -> Path:
    model = _write_mlx(folder, "json-templated", None)
    (model / "chat_template.json").write_text(json.dumps({"chat_template": tiny_model.TOOL_TEMPLATE}))
    return model
