import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from router.cli.app import ROOT, main
from router.cli.terminal.verbs import LazyVerb
from router.version import VERSION
from tests.router.cli.conftest import Mlxr
from tests.support.processes import ending
from tests.support.waiting import WITHIN_S


def verbs_under(group: click.Group, *words: str) -> Iterator[tuple[str, LazyVerb]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs_under(command, *words, name)
        elif isinstance(command, LazyVerb):
            yield " ".join((*words, name)), command


ALL_VERBS = dict(verbs_under(ROOT))
VERBS = ("serve", "run", "models", "engine", "ps", "stop", "requests", "config", "doctor")


def mlxr_process(*arguments: str, stdout: int = subprocess.PIPE) -> "subprocess.Popen[bytes]":
    argv = [sys.executable, "-P", "-m", "router.cli", *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(argv, env=environment, stdout=stdout, stderr=subprocess.PIPE)


def test_version(mlxr: Mlxr) -> None:
    assert mlxr("--version") == (0, f"mlxr {VERSION}\n", "")


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_names_every_verb(mlxr: Mlxr, flag: str) -> None:
    result = mlxr(flag)
    assert result.exit_code == 0
    assert all(f"  {verb} " in result.out for verb in VERBS)


def test_without_a_verb_the_help_is_printed(mlxr: Mlxr) -> None:
    assert mlxr().exit_code == 2
    assert "Usage: mlxr models" in mlxr("models").err


@pytest.mark.parametrize("verb", ALL_VERBS)
def test_every_verb_has_help_with_an_example(mlxr: Mlxr, verb: str) -> None:
    result = mlxr(*verb.split(), "--help")
    assert result.exit_code == 0
    assert "Example" in result.out or ALL_VERBS[verb].hidden


@pytest.mark.parametrize("verb", ALL_VERBS.values(), ids=ALL_VERBS)
def test_a_group_tells_of_each_verb_what_its_own_help_begins_with(verb: LazyVerb) -> None:
    assert verb.get_short_help_str() == verb.loaded().get_short_help_str()


@pytest.mark.parametrize(("group", "verb"), [("requests", "requests list"), ("models pulls", "models pulls list")])
def test_some_groups_alone_mean_a_verb(mlxr: Mlxr, group: str, verb: str) -> None:
    assert mlxr(*group.split()) == mlxr(*verb.split())
    assert mlxr(*group.split(), "--json") == mlxr(*verb.split(), "--json")
    assert mlxr(*group.split(), "no-such-verb").err == "mlxr: No such command 'no-such-verb'.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["modls"], "Did you mean 'models'"),
        (["models", "list", "--jsn"], "No such option '--jsn'. Did you mean '--json'?"),
        (["models", "show"], "Missing argument 'name'"),
        (["serve", "--port", "70000"], "--port"),
        (["serve", "--port", "x"], "--port"),
        (["run", "m", "hi", "--max-tokens", "0"], "--max-tokens"),
        (["engine", "mxl"], "choose auto, mlx, llamacpp"),
        (["serve", "--config", "/nonexistent.yaml"], "there is no such config file"),
    ],
)
def test_a_call_that_makes_no_sense_is_one_sentence_and_exit_code_2(
    mlxr: Mlxr, arguments: list[str], words: str
) -> None:
    result = mlxr(*arguments)
    assert result.exit_code == 2
    assert result.out == ""
    assert result.err.startswith("mlxr: ")
    assert words in result.err
    assert result.err.count("\n") == 1


def test_a_failure_is_one_sentence_and_exit_code_1(mlxr: Mlxr) -> None:
    result = mlxr("models", "show", "nope")
    assert result.exit_code == 1
    assert result.err == "mlxr: There is no model 'nope'. `mlxr models list` shows what there is.\n"


def test_the_systems_refusals_are_sentences_too(mlxr: Mlxr, home: Path) -> None:
    home.write_text("a file where the folder belongs", encoding="utf-8")
    result = mlxr("models", "list")
    assert result.exit_code == 1
    assert result.err.startswith("mlxr: ")
    assert str(home) in result.err
    assert "Traceback" not in result.err


def test_models_list_and_help_import_nothing_heavy(home: Path) -> None:
    """The time budget of 0.3 s, held without a clock."""
    del home
    heavy = (
        "litestar",
        "uvicorn",
        "mlx",
        "mlx_lm",
        "llama_cpp",
        "huggingface_hub",
        "httpx",
        "pydantic",
        "rich",
        "ruamel",
        "asyncio",
        "registry.gguf",
        "registry.scan",
        "router.models",
        "router.protocols",
    )
    script = (
        "import sys; from router.cli import main; "
        "code = main(sys.argv[1:]); "
        f"print('LOADED', [name for name in {heavy!r} if name in sys.modules], code)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    for arguments in (["models", "list"], ["models", "list", "--json"], ["--help"], ["models", "--help"]):
        argv = [sys.executable, "-P", "-c", script, *arguments]
        out = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout
        assert out.splitlines()[-1] == "LOADED [] 0", arguments


def test_no_verb_but_serve_imports_the_http_framework_or_an_engine() -> None:
    """Each import of it costs a client as much as all else together; the package mcp has it from the start."""
    servers = ("router.cli.serve", "router.cli.__main__", "router.cli.mcp.serving", "router.cli.mcp.over_http")
    script = (
        "import importlib, pkgutil, sys, router.cli\n"
        "for module in pkgutil.walk_packages(router.cli.__path__, 'router.cli.'):\n"
        f"    if module.name not in {servers}:\n"
        "        importlib.import_module(module.name)\n"
        "        loaded = [name for name in ('litestar', 'uvicorn', 'mlx', 'llama_cpp') if name in sys.modules]\n"
        "        assert not loaded, (module.name, loaded)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_module_runs_as_a_program(home: Path) -> None:
    del home
    with ending(mlxr_process("models", "show", "nope")) as process:
        out, err = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 1
    assert out == b""
    assert err.startswith(b"mlxr: There is no model")


def test_a_reader_that_went_away_is_no_complaint(home: Path) -> None:
    del home
    reader, writer = os.pipe()
    os.close(reader)  # before it starts: else it may have said all before the reader is gone
    with ending(mlxr_process("config", "schema", stdout=writer)) as process:
        os.close(writer)
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.wait(WITHIN_S)
    assert process.returncode == 141


def test_ctrl_c_is_quiet(home: Path, tmp_path: Path) -> None:
    del home
    fifo = tmp_path / "server.yaml"
    os.mkfifo(fifo)
    # Opening our end of the pipe returns when the command has opened its own: it now waits for the config.
    with ending(mlxr_process("config", "check", str(fifo))) as process, fifo.open("wb"):
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 130
    assert err == b""


def test_interrupts_inside_a_verb_are_exit_code_130(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    del home

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("router.cli.models.listing.current_paths", interrupt)
    assert main(["models", "list"]) == 130
