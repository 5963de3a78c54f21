"""`mlxr hosts check`: what is found of hosts, and what mends it. Another host is a program in the place of ssh."""

import json
import os
import sys
from pathlib import Path

import pytest

from backends.host_report import Asked, HostReport, report
from registry.catalogue import Artifact
from registry.scan import register_path
from registry.store import Registry
from router.cli.hosts import findings
from router.config.paths import Paths
from tests.support.gateway_process import run_cli

WORDS = ("local=10.0.0.1", "mac2=10.0.0.2")
HERE = HostReport(system="s", versions={"mlxr": "1", "mlx": "2"}, available_bytes=100, files={"a": "x", "b": "y"})


@pytest.fixture
def artifact(tmp_path: Path, tiny_mlx: Path) -> Artifact:
    with Registry(tmp_path / "registry.db") as registry:
        register_path(registry, tiny_mlx, name="tiny")
        (artifact,) = registry.models.get("tiny").artifacts
    return artifact


def changed(**fields: object) -> HostReport:
    return HostReport(**({name: getattr(HERE, name) for name in HERE.__struct_fields__} | fields))


def test_hosts_that_are_alike_are_ready(artifact: Artifact) -> None:
    assert [each.problems for each in findings(WORDS, [HERE, HERE], artifact, 50)] == [(), ()]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("no route", "no route"),
        (changed(versions={"mlxr": "1", "mlx": "3"}), "mlx is 3, on the first host 2"),
        (changed(versions={"mlxr": "1"}), "mlx is missing, on the first host 2"),
        (changed(files=None), "it has no folder"),
        (changed(files={"a": "x", "b": "z", "c": "q"}), "its files are not the same: b, c"),
        (changed(available_bytes=49), "its share needs 50 B, and 49 B is available"),
        (changed(problems=("10.0.0.2 is not an address of it",)), "not an address of it"),
    ],
)
def test_what_stands_in_the_way_is_said(artifact: Artifact, other: HostReport | str, words: str) -> None:
    first, second = findings(WORDS, [HERE, other], artifact, 50)
    assert first.problems == ()
    assert words in "; ".join(second.problems)


def test_files_that_differ_come_with_the_commands_that_copy_them(artifact: Artifact) -> None:
    second = findings(WORDS, [HERE, changed(files=None)], artifact, None)[1]
    assert second.remedies[0].startswith("ssh mac2 ")
    assert second.remedies[1].startswith("rsync -rLt ")
    assert f"mac2:{artifact.path}/" in second.remedies[1]


def test_a_report_has_checksums_and_versions(tiny_mlx: Path) -> None:
    found = report(Asked(folder=str(tiny_mlx), address="127.0.0.1"))
    assert found.problems == ()
    assert found.versions.keys() == {"mlxr", "mlx", "mlx-lm"}
    assert found.files is not None
    assert found.files.keys() == {path.name for path in tiny_mlx.iterdir()}
    assert found == report(Asked(folder=str(tiny_mlx))) or found.available_bytes


def test_a_report_says_what_is_wrong_with_the_network() -> None:
    found = report(Asked(address="203.0.113.77", first=("127.0.0.1", 1)))
    assert found.files is None
    assert "203.0.113.77 is not an address of it" in found.problems
    assert any("does not reach the first host at 127.0.0.1" in problem for problem in found.problems)


@pytest.mark.slow
def test_the_verb_asks_by_ssh_and_says_what_it_found(
    tmp_path: Path, tiny_mlx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, asked = tmp_path / "home", tmp_path / "asked"
    paths = Paths.under(home)
    paths.ensure_folders()
    with Registry(paths.registry_db) as registry:
        register_path(registry, tiny_mlx, name="tiny")
        registry.models.change_settings("tiny", {"hosts": ("local=127.0.0.1", "mac2=203.0.113.77")})
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"open({str(asked)!r}, 'w').write(json.dumps(sys.argv[1:]))\nos.execv('/bin/sh', ['sh', '-c', sys.argv[-1]])\n"
    )
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}{os.pathsep}{os.environ['PATH']}")
    done = run_cli(home, "hosts", "check", "tiny", "--json")
    found = json.loads(done.stdout)["hosts"]
    assert done.returncode == 1
    assert found[0]["problems"] == []
    assert found[1]["problems"] == ["203.0.113.77 is not an address of it"], "it is this machine in truth"
    assert found[1]["report"]["files"] == found[0]["report"]["files"]
    argv = json.loads(asked.read_text())
    assert "BatchMode=yes" in argv
    assert argv[-3:-1] == ["--", "mac2"]
    assert str(tiny_mlx) not in argv[-1], "no path is part of a command"


def test_a_model_without_hosts_is_told_how_to_get_them(tmp_path: Path, tiny_mlx: Path) -> None:
    paths = Paths.under(tmp_path)
    paths.ensure_folders()
    with Registry(paths.registry_db) as registry:
        register_path(registry, tiny_mlx, name="tiny")
    done = run_cli(tmp_path, "hosts", "check", "tiny")
    assert done.returncode == 1
    assert "mlxr models set tiny hosts=" in done.stderr
