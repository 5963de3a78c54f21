import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.cli.config import masked
from router.config import Config
from router.config.paths import Paths
from router.config.reference import json_schema, reference_text
from tests.router.cli.conftest import Mlxr


def test_path_makes_the_commented_file(mlxr: Mlxr, paths: Paths) -> None:
    assert mlxr("config", "path").out == f"{paths.config_file}\n"
    assert paths.config_file.read_text(encoding="utf-8") == reference_text()


def test_show_prints_every_key_and_marks_what_was_changed(mlxr: Mlxr, paths: Paths) -> None:
    paths.ensure_folders()
    paths.config_file.write_text("server: {port: 8080}\n", encoding="utf-8")
    lines = mlxr("config", "show").out.splitlines()
    assert "server.port: 8080  # default: 11434" in lines
    assert "engine: auto" in lines
    assert sum("# default" in line for line in lines) == 1


def test_show_as_json_is_a_config(mlxr: Mlxr) -> None:
    assert msgspec.convert(json.loads(mlxr("config", "show", "--json").out), Config) == Config()


def test_secrets_are_masked_and_counts_and_paths_are_not() -> None:
    value = {
        "hub": {"token": "hf_x", "api_keys": ["a", "b"], "key_file": "/k.pem", "nested_secret": {"a": "b"}},
        "password": "p",
        "generation": {"max_tokens": 5},
        "keepalive_s": 10,
        "name": "n",
    }
    assert masked(value) == {
        "hub": {
            "token": "********",
            "api_keys": ["********", "********"],
            "key_file": "/k.pem",
            "nested_secret": {"a": "********"},
        },
        "password": "********",
        "generation": {"max_tokens": 5},
        "keepalive_s": 10,
        "name": "n",
    }


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_passwords_in_addresses_are_masked(mlxr: Mlxr, paths: Paths, flags: tuple[str, ...]) -> None:
    paths.ensure_folders()
    addresses = {"endpoint": "https://me:geheim@hub.example", "proxy": "http://me:ge@heim@proxy.example:3128"}
    paths.config_file.write_text(json.dumps({"hub": addresses}), encoding="utf-8")
    out = mlxr("config", "show", *flags).out
    assert "heim" not in out
    assert "https://********@hub.example" in out
    assert "http://********@proxy.example:3128" in out


@pytest.mark.parametrize(
    ("hub", "said"),
    [
        ({"proxy": "me:geheim@proxy.example"}, "hub.proxy: expected"),
        ({"endpoint": "https://me:geheim@hub.example/path"}, "https://********@hub.example/path"),
        ({"token": ["geheim"]}, "hub.token: expected"),
    ],
)
@pytest.mark.slow
def test_what_is_wrong_with_a_secret_is_said_without_it(
    mlxr: Mlxr, paths: Paths, hub: dict[str, Any], said: str
) -> None:
    paths.ensure_folders()
    paths.config_file.write_text(json.dumps({"hub": hub}), encoding="utf-8")
    for verb in (("config", "check"), ("config", "show"), ("doctor",)):
        result = mlxr(*verb)
        assert "geheim" not in result.out + result.err
        assert said in result.out + result.err


def test_check_accepts_the_good_and_refuses_the_bad(mlxr: Mlxr, tmp_path: Path, paths: Paths) -> None:
    assert "the defaults count" in mlxr("config", "check").out
    mlxr("config", "path")
    assert mlxr("config", "check").out == f"{paths.config_file}: good\n"
    bad = tmp_path / "bad.yaml"
    bad.write_text("limits:\n  max_queue: x\n", encoding="utf-8")
    result = mlxr("config", "check", str(bad))
    assert result.exit_code == 1
    assert result.err == f'mlxr: {bad}, line 2: limits.max_queue: expected int >= 1 and <= 100000, got "x"\n'
    assert mlxr("config", "check", str(tmp_path / "nowhere.yaml")).exit_code == 2


def test_schema_prints_the_schema(mlxr: Mlxr) -> None:
    assert mlxr("config", "schema").out.encode() == json_schema()
