"""The shipped config file and its JSON Schema: giving a user their own commented copy.

Not here: reading a config (`load.py`). The shipped files are `configs/server.yaml` and
`configs/server.schema.json`.
"""

import inspect
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from registry.disk import make_private
from router.config.edit import write_atomically
from router.config.key_types import attributes_of
from router.config.schema import Config
from router.errors import ConfigError

REFERENCE_NAME = "server.yaml"
SCHEMA_NAME = "server.schema.json"


def reference_text() -> str:
    """Read the shipped `server.yaml`: every key with its default and a comment."""
    return resources.files("configs").joinpath(REFERENCE_NAME).read_text(encoding="utf-8")


def ensure_config_file(path: Path) -> bool:
    """Put the shipped file at `path`, and the schema that editors use beside it, unless there is a file.

    Raises:
        ConfigError: The folder, which is made, or the file cannot be written.
    """
    if path.exists():
        return False
    schema = resources.files("configs").joinpath(SCHEMA_NAME).read_bytes()
    try:
        make_private(path.parent)
        write_atomically(path.with_name(SCHEMA_NAME), schema)
        write_atomically(path, reference_text().encode())
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be written: {exc.strerror}") from exc
    return True


def json_schema() -> bytes:
    """Return the JSON Schema of the config, made of the Structs: the exact content of `configs/server.schema.json`."""
    schema = msgspec.json.schema(Config)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "mlxr server.yaml"
    for definition in schema["$defs"].values():
        _describe(definition)
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"


def _describe(definition: dict[str, Any]) -> None:
    """Move the docstring's `Attributes:` to the properties that they describe."""
    doc = inspect.cleandoc(definition.get("description", ""))
    definition["description"] = " ".join(doc.partition("Attributes:")[0].split())
    described = attributes_of(doc)
    for name, property_schema in definition.get("properties", {}).items():
        if name in described:
            property_schema["description"] = described[name]
