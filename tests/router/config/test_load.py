import os
from pathlib import Path

import pytest

from registry.engines import EngineSetting
from router.config import Config, Overrides, apply_overrides, load_config, parse_config
from router.config.key_types import key_paths
from router.config.yaml_text import KeyPath, dotted
from router.errors import ConfigError


def refusal(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, source="server.yaml")
    return caught.value


def test_an_absent_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load_config(tmp_path / "server.yaml") == Config()
    assert load_config(tmp_path / "no" / "server.yaml") == Config()


def test_absent_keys_have_their_defaults() -> None:
    config = parse_config("engine: mlx\nlimits:\n  max_queue: 3\n", source="x")
    assert config.engine is EngineSetting.MLX
    assert config.limits.max_queue == 3
    assert config.limits.load_timeout_s == Config().limits.load_timeout_s


def test_a_section_with_every_key_commented_out_is_empty() -> None:
    assert parse_config("limits:\n  # max_queue: 3\nserver:\n", source="x") == Config()


def test_whole_numbers_do_for_seconds() -> None:
    assert parse_config("limits: {swap_max_wait_s: 0}", source="x").limits.swap_max_wait_s == 0.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limits:\n  max_queue: x", 'line 2: limits.max_queue: expected int >= 1 and <= 100000, got "x"'),
        ("limits:\n  max_queue: 0", "line 2: limits.max_queue: expected int >= 1 and <= 100000, got 0"),
        ("limits: {max_queue: 1.5}", "line 1: limits.max_queue: expected int >= 1 and <= 100000, got 1.5"),
        ("server: {port: 70000}", "line 1: server.port: expected int >= 0 and <= 65535, got 70000"),
        ("server: {port: null}", "line 1: server.port: expected int >= 0 and <= 65535, got null"),
        ("engine: mxl", 'line 1: engine: expected one of auto, mlx, llamacpp, got "mxl"'),
        ("residency: groups", "residency: groups needs a group, such as groups: {work: [NAME, OTHER]}; or use budget"),
        ("groups: {work: []}", "line 1: groups: expected names of groups, each with a list of models"),
        ("groups: {work: [a b]}", 'nomic-embed]}, got {"work": ["a b"]}'),
        ("models: {preload: [a, b]}", "models.preload: 2 models are not loaded at a time with residency: exclusive"),
        ("residency: shared", 'line 1: residency: expected one of budget, exclusive, groups, got "shared"'),
        ("llamacpp: {kv_type: q9}", "llamacpp.kv_type: expected one of f32, f16, bf16, q8_0, "),
        ("cache: {persist: all}", "cache.persist: expected repeated, true or false"),
        ("standby: yes", 'line 1: standby: expected true or false, got "yes"'),
        ("limits: 3", "line 1: limits: expected keys and values, got 3"),
        ("- a", "line 1: the file: expected keys and values, got a list"),
        ("generation: {top_k: a}", 'generation.top_k: expected int >= 1 and <= 1000000, or null, got "a"'),
        ("generation: {temperature: .nan}", "generation.temperature: expected number >= 0 and <= 5, got NaN"),
        ("limits: {load_timeout_s: 0}", "limits.load_timeout_s: expected number > 0 and <= 86400, got 0"),
        ("models: {extra_folders: x}", 'models.extra_folders: expected a list, got "x"'),
        ("models:\n  extra_folders:\n  - /a\n  - b", "line 4: models.extra_folders[1]: expected a path that begins"),
        ("server: {allowed_origins: ['http://a/b']}", "server.allowed_origins[0]: expected an origin like"),
        ("server: {allowed_origins: ['http://*']}", "server.allowed_origins[0]: expected an origin like"),
        ("server: {allowed_origins: ['file:///a']}", "server.allowed_origins[0]: expected an origin like"),
        ("server: {allowed_origins: ['null']}", "server.allowed_origins[0]: expected an origin like"),
        ("server: {host: ''}", 'server.host: expected text that is not empty, got ""'),
        ("engin: mlx", "line 1: engin: unknown key; did you mean engine?"),
        ("server: {prot: 1}", "server.prot: unknown key; did you mean server.port?"),
        ("port: 1", "port: unknown key; did you mean server.port?"),
        ("zzz: 1", "zzz: unknown key; `mlxr config show` lists the keys there are"),
        ("a: 1\na: 2", "server.yaml, line 2: a is given twice"),
        ("a: [", "server.yaml, line 1: "),
    ],
)
def test_a_bad_file_is_one_message_with_file_line_and_key(text: str, message: str) -> None:
    shown = str(refusal(text))
    assert shown.startswith("server.yaml, line ")
    assert message in shown
    assert "\n" not in shown


def test_the_key_at_fault_is_the_errors_param() -> None:
    assert refusal("limits:\n  max_queue: x").param == "limits.max_queue"


def test_control_characters_of_the_file_do_not_reach_the_terminal() -> None:
    shown = str(refusal('"a\\e[2J": 1')) + str(refusal('engine: "\\e[2J"'))
    assert "\x1b" not in shown


def test_a_long_wrong_value_is_cut() -> None:
    assert len(str(refusal("engine: " + "x" * 10_000))) < 200


@pytest.mark.parametrize("key", key_paths(), ids=dotted)
def test_a_value_that_no_key_can_have_is_refused_with_what_it_can(key: KeyPath) -> None:
    *sections, name = map(str, key)
    text = "".join(f"{section}: " + "{" for section in sections) + f"{name}: [[]]" + "}" * len(sections)
    refused = refusal(text)
    assert refused.param is not None
    assert refused.param.startswith(dotted(key))
    assert "expected " in str(refused)


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:3000",
        "https://ui.example",
        "app://obsidian.md",
        "tauri://localhost",
        "capacitor://localhost",
        "chrome-extension://abcdefghijklmnop",
        "moz-extension://*",
        "vscode-webview://1kq0",
        "file://",
    ],
)
def test_origins_of_pages_applications_and_extensions_can_be_listed(origin: str) -> None:
    config = parse_config(f"server: {{allowed_origins: ['{origin}']}}", source="x")
    assert config.server.allowed_origins == (origin,)


def test_a_leading_tilde_is_the_users_home() -> None:
    text = "models: {extra_folders: [~/m, /n], hf_cache_dir: ~/hf}\nserver: {unix_socket: ~/s}"
    config = parse_config(text, source="x", user_home=Path("/home/u"))
    assert config.models.extra_folders == ("/home/u/m", "/n")
    assert config.models.hf_cache_dir == "/home/u/hf"
    assert config.server.unix_socket == "/home/u/s"


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_bytes(b"\xef\xbb\xbfengine: mlx\n")
    assert load_config(path).engine is EngineSetting.MLX


def test_bytes_that_are_no_utf8_are_refused_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_bytes(b"engine: mlx\n# \xff\n")
    with pytest.raises(ConfigError, match=r"server.yaml, line 2: not UTF-8 text"):
        load_config(path)


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text("", encoding="utf-8")
    path.chmod(0)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        load_config(path)


def test_overrides_win_and_leave_the_files_config_alone() -> None:
    config = Config()
    new = apply_overrides(config, Overrides(port=1, engine=EngineSetting.MLX, unix_socket="/tmp/s"))
    assert (new.server.port, new.engine, new.server.unix_socket) == (1, EngineSetting.MLX, "/tmp/s")
    assert new.server.host == config.server.host
    assert config == Config()
    assert apply_overrides(config, Overrides()) == config


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (Overrides(port=70_000), "command line: server.port: expected int"),
        (Overrides(unix_socket="relative"), "command line: server.unix_socket: expected auto, or a path"),
    ],
)
def test_bad_overrides_are_refused(overrides: Overrides, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        apply_overrides(Config(), overrides)
    assert str(caught.value).startswith(message)
