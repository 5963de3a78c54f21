import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from router.cli.models.listing import ago
from router.config.paths import Paths
from tests.registry.ollama_builder import put_model
from tests.router.cli.conftest import Mlxr
from tests.router.cli.stub_gateway import StubGateway, worker


@pytest.fixture
def two(mlxr: Mlxr, paths: Paths, tiny_gguf: Path, tiny_mlx: Path) -> None:
    """`one` runs on llamacpp, `two` on mlx."""
    paths.ensure_folders()
    shutil.copy(tiny_gguf, paths.models_dir / "one.gguf")
    shutil.copytree(tiny_mlx, paths.models_dir / "another-4bit")
    assert mlxr("models", "scan").exit_code == 0
    assert mlxr("models", "add", str(paths.models_dir / "another-4bit"), "--name", "two").exit_code == 0


def listed(mlxr: Mlxr, *arguments: str) -> list[str]:
    return [model["name"] for model in json.loads(mlxr("models", "list", *arguments, "--json").out)]


def settings_of(mlxr: Mlxr, name: str) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(mlxr("models", "show", name, "--json").out)["settings"]
    return settings


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((), ["one", "two"]),
        (("TW",), ["two"]),
        (("another-4bit",), ["two"]),
        (("nothing-like-that",), []),
        (("--engine", "mlx"), ["two"]),
        (("--engine", "auto"), ["one", "two"]),
        (("--arch", "LLAMA"), ["one", "two"]),
        (("--arch", "qwen3"), []),
        (("--tag", "CODE"), ["two"]),
        (("--tag", "nothing"), []),
        (("--min-context", "16"), ["one", "two"]),
        (("--min-context", "1000k"), []),
        (("--sort", "added"), ["two", "one"]),
    ],
)
def test_the_list_is_filtered_and_sorted(mlxr: Mlxr, arguments: tuple[str, ...], names: list[str]) -> None:
    mlxr("models", "set", "two", "tags=small,code")
    assert listed(mlxr, *arguments) == names


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sort", "beauty"), "choose name, size"),
        (("--min-context", "much"), "8192 or 8k"),
        (("--engine", "cuda"), "no engine"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(mlxr: Mlxr, arguments: tuple[str, ...], words: str) -> None:
    result = mlxr("models", "list", *arguments)
    assert (result.exit_code, words in result.err) == (2, True)


@pytest.mark.usefixtures("two")
def test_a_list_without_a_match_says_so(mlxr: Mlxr) -> None:
    assert "None of the 2 models" in mlxr("models", "list", "nothing-like-that").out


@pytest.mark.usefixtures("two")
def test_the_list_says_what_is_loaded(mlxr: Mlxr, stub: StubGateway) -> None:
    stub.status["workers"] = [worker(model="one", engine="llamacpp", state="ready")]
    models = {model["name"]: model for model in json.loads(mlxr("models", "list", "--json").out)}
    assert models["one"]["resident_engine"] == "llamacpp"
    assert models["two"]["resident_engine"] is None
    shown = mlxr("models", "show", "one").out
    assert "loaded" in shown
    assert "memory" in shown


@pytest.mark.parametrize(
    ("seconds", "text"), [(3, "just now"), (90, "2 min ago"), (7200, "2 h ago"), (200_000, "2 d ago")]
)
def test_ages_are_written_for_people(seconds: float, text: str) -> None:
    assert ago(seconds) == text


@pytest.mark.usefixtures("two")
def test_settings_are_set_shown_and_taken_away(mlxr: Mlxr, tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Be kind.\nBe brief.\n")
    arguments = ("temperature=0.5", "keep_alive_s=5m", "stop=</s>", f"system=@{prompt}", "engine=llamacpp", "top_k=40")
    assert mlxr("models", "set", "one", *arguments).exit_code == 0
    assert settings_of(mlxr, "one") == {
        "temperature": 0.5,
        "keep_alive_s": 300.0,
        "stop": ["</s>"],
        "system": "Be kind.\nBe brief.\n",
        "top_k": 40,
    }
    assert "setting temperature" in mlxr("models", "show", "one").out
    result = json.loads(mlxr("models", "set", "one", "temperature=", "stop=", "system=", "engine=", "--json").out)
    assert result == {"keep_alive_s": 300.0, "top_k": 40}
    mlxr("models", "set", "one", "keep_alive_s=", "top_k=")
    assert settings_of(mlxr, "one") == {}


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("temprature=1", "temperature"),
        ("temperature=9", "temperature"),
        ("temperature=hot", "temperature"),
        ("top_k=1.5", "top_k"),
        ("kv_type=q9", "kv_type"),
        ("kv_type=q8_0/", "like q8_0/q4_0"),
        ("kv_type=q8_0/q4_0/q4_0", "kv_type"),
        ("keep_alive_s=soon", "30s, 5m, 2h"),
        ("engine=cuda", "auto, mlx, llamacpp"),
        ('stop=["a"', "JSON list"),
        ("temperature=nan", "temperature"),
        ("context_length=1", "context_length"),
        ("novalue", "KEY=VALUE"),
        ("=1", "KEY=VALUE"),
        ("system=@/no/such/file", "/no/such/file"),
    ],
)
def test_a_bad_setting_is_refused_with_the_key_and_the_way_out(mlxr: Mlxr, pair: str, words: str) -> None:
    result = mlxr("models", "set", "one", "seed=1", pair)
    assert result.exit_code != 0
    assert words in result.err
    assert settings_of(mlxr, "one") == {}


@pytest.mark.usefixtures("two")
def test_aliases_come_and_go(mlxr: Mlxr) -> None:
    assert mlxr("models", "alias", "one", "nickname").out == "one: nickname\n"
    assert json.loads(mlxr("models", "show", "nickname", "--json").out)["name"] == "one"
    assert "no alias of two" in mlxr("models", "alias", "two", "nickname", "--remove").err
    assert mlxr("models", "alias", "one", "nickname", "--remove").out == "one: no other names\n"
    assert "is the name of a model" in mlxr("models", "alias", "one", "two").err


@pytest.mark.usefixtures("two")
def test_settings_make_a_round_trip_through_yaml(mlxr: Mlxr, tmp_path: Path) -> None:
    template = tmp_path / "t.jinja"
    template.write_text("{% for m in messages %}\n  {{ m.content }}\t# é 😀\n\n{% endfor %}\n\n")
    mlxr("models", "set", "one", f"template=@{template}", "system= two\n lines", 'stop=["a", "\\n"]', "min_p=0.05")
    mlxr("models", "set", "two", "engine=mlx", "seed=7")
    mlxr("models", "alias", "two", "deux")
    before = settings_of(mlxr, "one")
    assert before["template"] == template.read_text()
    file = tmp_path / "models.yaml"
    assert "2 models" in mlxr("models", "settings", "export", str(file)).out
    assert mlxr("models", "settings", "export").out == file.read_text()
    mlxr("models", "set", "one", "template=", "system=", "stop=", "seed=5")
    mlxr("models", "set", "two", "engine=", "seed=")
    mlxr("models", "alias", "two", "deux", "--remove")
    assert mlxr("models", "settings", "import", str(file)).out == "Set 2 models.\n"
    assert settings_of(mlxr, "one") == before
    described = json.loads(mlxr("models", "show", "deux", "--json").out)
    assert (described["name"], described["engine"], described["settings"]) == ("two", "mlx", {"seed": 7})


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models: {one: {seed: 1}, nobody: {seed: 1}}", "nobody"),
        ("models: {one: {seed: 1, sed: 2}}", "Did you mean seed"),
        ("models: {one: {seed: 1}, two: {seed: -1}}", "two: seed"),
        ("models: {one: {seed: 1}, two: {aliases: one}}", "list of names"),
        ("models: {one: {seed: 1}, two: {aliases: [one]}}", "name of a model"),
        ("models: {one: 7}", "line 1"),
        ("model: {}", "models:"),
        ("- 1", "models:"),
        ("models: {one: &a {seed: 1}}", "anchors"),
        ("models: [", "line 1"),
    ],
)
def test_a_bad_file_changes_nothing(mlxr: Mlxr, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "m.yaml").write_text(text)
    result = mlxr("models", "settings", "import", str(tmp_path / "m.yaml"))
    assert (result.exit_code, words in result.err) == (1, True), result.err
    assert settings_of(mlxr, "one") == {}


@pytest.mark.usefixtures("two")
def test_models_that_are_not_here_are_passed_over_when_asked(mlxr: Mlxr, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("models: {one: {seed: 1}, nobody: {seed: 1}}")
    result = mlxr("models", "settings", "import", str(tmp_path / "m.yaml"), "--skip-unknown")
    assert "passed over 1" in result.out
    assert settings_of(mlxr, "one") == {"seed": 1}


@pytest.mark.usefixtures("two")
def test_the_template_in_force_is_printed(mlxr: Mlxr) -> None:
    assert "messages" in mlxr("models", "show", "one", "--template").out
    assert "messages" in mlxr("models", "show", "two", "--template").out
    mlxr("models", "set", "one", "template=my own {{ messages }}")
    assert mlxr("models", "show", "one", "--template").out == "my own {{ messages }}\n"


def test_a_model_of_ollamas_store_is_found_by_its_name(mlxr: Mlxr, tmp_path: Path, tiny_gguf: Path) -> None:
    store = tmp_path / "user" / ".ollama" / "models"
    manifest = put_model(store, "tiny:1m", tiny_gguf.read_bytes())
    assert mlxr("models", "scan").exit_code == 0
    assert listed(mlxr) == ["tiny:1m"]
    shown = mlxr("models", "show", "tiny:1m").out
    assert "Ollama (removing the model leaves the files)" in shown
    assert "(by its name)" in shown
    assert mlxr("models", "rm", "tiny:1m", "--yes").exit_code == 0
    assert manifest.exists()


@pytest.mark.usefixtures("two")
def test_a_template_that_does_not_compile_is_not_stored(mlxr: Mlxr, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.jinja", tmp_path / "bad.jinja"
    good.write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    bad.write_text("{% for m in messages %}\n{{ m.content }")
    assert mlxr("models", "set", "one", f"template=@{good}").exit_code == 0
    refused = mlxr("models", "set", "one", f"template=@{bad}", "seed=3")
    assert (refused.exit_code, "template: line 2: unexpected '}'" in refused.err) == (1, True)
    assert settings_of(mlxr, "one") == {"template": good.read_text()}
    entries = tmp_path / "models.yaml"
    entries.write_text("models:\n  two:\n    template: '{% endif %}'\n")
    refused = mlxr("models", "settings", "import", str(entries))
    assert (refused.exit_code, "two: template: line 1: " in refused.err) == (1, True)
    assert settings_of(mlxr, "two") == {}


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("strict.jinja", "'strict.jinja' is no template in Jinja; template=@FILE reads one from a file."),
        ("/tmp/chat_template.jinja", "'/tmp/chat_template.jinja' is no template in Jinja; template=@FILE"),
        (
            "{{ bos_token }}",
            "does not use `messages`, so that the model would see nothing of a conversation; template=@",
        ),
    ],
)
def test_a_template_that_shows_no_conversation_is_refused_with_the_way_out(mlxr: Mlxr, value: str, said: str) -> None:
    refused = mlxr("models", "set", "one", f"template={value}")
    assert (refused.exit_code, said in refused.err) == (1, True), refused.err
    assert settings_of(mlxr, "one") == {}
