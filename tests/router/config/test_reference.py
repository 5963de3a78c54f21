import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.config import Config, load_config, parse_config
from router.config.key_types import key_paths
from router.config.reference import ensure_config_file, json_schema, reference_text
from router.config.schema import KVTypePair
from router.config.upstreams import UpstreamConfig
from router.config.yaml_text import parse
from router.errors import ConfigError

CONFIGS = Path(__file__).parents[3] / "configs"


def test_every_value_of_the_shipped_file_is_the_default() -> None:
    assert parse_config(reference_text(), source="server.yaml") == Config()


def test_every_key_is_in_the_shipped_file() -> None:
    value: dict[str, Any] = parse(reference_text()).value
    of_users = {"groups"}  # a key whose value has names that users choose
    written: list[tuple[str, ...]] = [
        (k, i) for k, v in value.items() if isinstance(v, dict) and k not in of_users for i in v
    ]
    written += [(k,) for k, v in value.items() if not isinstance(v, dict) or k in of_users]
    assert sorted(written) == sorted(key_paths())


def test_every_key_of_the_shipped_file_has_a_comment_above_it() -> None:
    lines = reference_text().splitlines()
    for path, line in parse(reference_text()).lines.items():
        if path in key_paths():
            assert lines[line - 2].lstrip().startswith("#"), path


def test_the_shipped_schema_is_the_structs_schema() -> None:
    """`mlxr config schema > configs/server.schema.json` mends a failure."""
    assert (CONFIGS / "server.schema.json").read_bytes() == json_schema()


def test_the_schema_has_every_key_described_and_no_others() -> None:
    schema = json.loads(json_schema())
    keys = []
    for name, definition in schema["$defs"].items():
        if "properties" in definition:
            assert definition["additionalProperties"] is False, name
            assert all(property_.get("description") for property_ in definition["properties"].values()), name
            keys += list(definition["properties"])
    sections = [field.name for field in msgspec.structs.fields(Config)]
    of_values = {*KVTypePair.__struct_fields__, *UpstreamConfig.__struct_fields__}
    assert set(keys) == {path[-1] for path in key_paths()} | set(sections) | of_values
    checkpoints = schema["$defs"]["CacheConfig"]["properties"]["checkpoint_bytes"]["description"]
    assert checkpoints.endswith("None = by the machine's memory."), "all of its lines"


def test_the_first_run_gives_the_user_the_commented_file_with_its_schema_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "config" / "server.yaml"
    assert ensure_config_file(path) is True
    assert path.read_text(encoding="utf-8") == reference_text()
    assert path.with_name("server.schema.json").is_file()
    assert load_config(path) == Config()


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text("engine: mlx\n", encoding="utf-8")
    assert ensure_config_file(path) is False
    assert path.read_text(encoding="utf-8") == "engine: mlx\n"


def test_a_folder_that_cannot_be_made_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be written"):
        ensure_config_file(tmp_path / "file" / "config" / "server.yaml")


def test_config_survives_a_round_trip_through_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(Config()), type=Config) == Config()
