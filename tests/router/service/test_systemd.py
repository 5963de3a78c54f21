"""The unit: golden text, read back by systemd's rules of quoting, and verified by systemd where it is installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.service.environment import secrets_left_out, service_environment
from router.service.plan import ServicePlan
from router.service.systemd import unit_file, unit_text
from tests.support.unit_file import UnitFile

GOLDEN = Path(__file__).with_name("mlxr.service")


def plan(**changes: object) -> ServicePlan:
    values: dict[str, object] = {
        "argv": ("/opt/my mlxr/bin/python", "-P", "-m", "router.cli", "serve", "--config", '/home/ü/a "b" $c %d.yaml'),
        "environment": {"HF_HOME": "/disk/hf", "MLXR_HOME": "/home/ü/mlxr %h", "PATH": "/usr/local/bin:/usr/bin"},
        "secrets_file": Path("/home/ü/mlxr 100%/config/service.env"),
        "output_file": Path("/home/ü/mlxr/log/serve.out"),
        "ending_s": 49.5,
    }
    return ServicePlan(**{**values, **changes})  # type: ignore[arg-type]


def test_the_unit_is_as_it_was() -> None:
    assert unit_text(plan()) == GOLDEN.read_text(encoding="utf-8")


def test_the_unit_says_what_was_planned(tmp_path: Path) -> None:
    file = tmp_path / "mlxr.service"
    file.write_text(unit_text(plan(), watchdog_s=2.5), encoding="utf-8")
    unit = UnitFile.read(file)
    assert tuple(unit.command()) == plan().argv
    assert unit.environment() == plan().environment
    assert (unit.seconds("WatchdogSec"), unit.seconds("TimeoutStopSec")) == (2.5, 50)


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


@given(word=TEXT, value=TEXT)
def test_no_word_or_value_says_anything_else(tmp_path_factory: pytest.TempPathFactory, word: str, value: str) -> None:
    file = tmp_path_factory.mktemp("unit") / "mlxr.service"
    lines = unit_text(plan(argv=("/bin/true", word), environment={"MLXR_HOME": value})).split("\n")
    file.write_text("\n".join(lines), encoding="utf-8")
    if len("\n".join(lines).splitlines()) == len(lines) - 1:  # no separator that only Python knows
        unit = UnitFile.read(file)
        assert unit.command() == ["/bin/true", word]
        assert unit.environment() == {"MLXR_HOME": value}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    file = tmp_path / "mlxr.service"
    tool = tmp_path / "my python %"
    tool.symlink_to("/bin/true")
    file.write_text(unit_text(plan(argv=(str(tool), "-P"))), encoding="utf-8")
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    argv = ["systemd-analyze", "--user", "--recursive-errors=no", "verify", str(file)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_lies_where_the_users_units_are() -> None:
    assert unit_file({}, Path("/home/a")) == Path("/home/a/.config/systemd/user/mlxr.service")
    assert unit_file({"XDG_CONFIG_HOME": "/c"}, Path("/home/a")) == Path("/c/systemd/user/mlxr.service")


def test_a_service_keeps_folders_and_path_and_no_secret() -> None:
    shell = {
        "PATH": "/bin",
        "MLXR_HOME": "/m",
        "HF_HOME": "/hf",
        "HF_HUB_CACHE": "/c",
        "HF_TOKEN_PATH": "/t",
        "XDG_DATA_HOME": "/d",
        "HUGGINGFACE_HUB_CACHE": "/h",
        "MLXR_MLX_DEVICE": "cpu",
        "HF_TOKEN": "hf_secret",
        "MLXR_API_KEY": "k",
        "AWS_SECRET_KEY": "s",
        "HOME": "/home/a",
        "HF_EMPTY": "",
    }
    kept = service_environment(shell)
    assert set(shell) - set(kept) == {"HF_TOKEN", "MLXR_API_KEY", "AWS_SECRET_KEY", "HOME", "HF_EMPTY"}
    assert secrets_left_out(shell) == ["HF_TOKEN", "MLXR_API_KEY"]
