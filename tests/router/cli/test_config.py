import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.config import Config
from router.config.paths import Paths
from router.config.reference import json_schema, reference_text
from router.config.settings.masking import masked
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


def test_set_writes_keys_and_keeps_what_is_written_beside_them(mlxr: Mlxr, paths: Paths) -> None:
    mlxr("config", "path")
    done = mlxr("config", "set", "generation.temperature=0.5", "limits.keep_alive_s=forever", "engine=mlx")
    assert done.out == f"{paths.config_file}: changed\n"
    changed = paths.config_file.read_text()
    assert len(set(reference_text().splitlines()) - set(changed.splitlines())) == 3, "all else is as it was"
    assert mlxr("config", "set", "generation.temperature=", "limits.keep_alive_s=", "engine=").exit_code == 0
    assert paths.config_file.read_text() == reference_text()


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("generation.temperature=9", "generation.temperature: expected number >= 0 and <= 5, got 9"),
        ("generation.temprature=1", "generation.temprature: unknown key; did you mean generation.temperature?"),
        ("generation=1", "generation: this is a section; name one of its keys"),
        ("limits.max_queue.x=3", "limits.max_queue.x: limits.max_queue is set as a whole"),
        ("limits.max_queue=[", "limits.max_queue: "),
        ("engine", "'engine' sets nothing; write KEY=VALUE"),
        ('hub.token="********"', "hub.token: ******** stands for what is not shown"),
        ("server.tls_key_file=/k.pem", "server.tls_key_file is set and server.tls_cert_file is not"),
    ],
)
def test_set_refuses_what_cannot_be(mlxr: Mlxr, paths: Paths, pair: str, said: str) -> None:
    mlxr("config", "path")
    done = mlxr("config", "set", "standby=true", pair)
    assert done.exit_code != 0
    assert said in done.err
    assert paths.config_file.read_text() == reference_text(), "none of it"
