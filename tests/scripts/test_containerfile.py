"""The container file against the repository: no engine builds it in the tests, so that what it names is looked at."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from router.cli.app import ROOT
from router.config.paths import Paths
from router.config.server import ServerConfig
from tests.support.certificates import Authority
from tests.support.gateway_process import GatewayProcess

REPOSITORY = Path(__file__).parents[2]
FILE = REPOSITORY / "configs" / "container" / "Containerfile"
KNOWN = {
    *("FROM", "RUN", "WORKDIR", "COPY", "ARG", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL"),
    *("HEALTHCHECK", "ENTRYPOINT", "CMD"),
}


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", FILE.read_text()))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def values(instructions: list[tuple[str, str]], name: str) -> list[str]:
    return [rest for each, rest in instructions if each == name]


def test_it_is_made_of_instructions_on_one_pinned_base(instructions: list[tuple[str, str]]) -> None:
    assert {name for name, _ in instructions} == KNOWN
    bases = {rest.split()[0] for rest in values(instructions, "FROM")}
    assert len(bases) == 1
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-\w+", bases.pop())


def test_what_it_reads_is_in_the_repository_and_sent_to_the_build(instructions: list[tuple[str, str]]) -> None:
    sent = [line[1:] for line in (REPOSITORY / ".containerignore").read_text().splitlines() if line.startswith("!")]
    assert all(list(REPOSITORY.glob(pattern)) for pattern in sent)
    runs = " ".join(values(instructions, "RUN"))
    named = set(re.findall(r"[\w/-]+\.(?:txt|py)\b", runs))
    assert named == {"requirements.txt", "requirements-vision.txt", "scripts/build_llama.py"}
    for path in named:
        assert (REPOSITORY / path).is_file()
        assert any(Path(path).match(pattern) or path.startswith(f"{pattern}/") for pattern in sent)


def test_it_serves_as_nobody_special_with_its_data_on_a_volume(instructions: list[tuple[str, str]]) -> None:
    assert values(instructions, "USER") == ["10001"]
    environment = dict(pair.split("=", 1) for pair in values(instructions, "ENV")[0].split())
    assert values(instructions, "VOLUME") == [environment["MLXR_HOME"]]
    assert values(instructions, "EXPOSE") == [str(ServerConfig().port)]
    assert values(instructions, "STOPSIGNAL") == ["SIGTERM"]


@pytest.mark.slow
@pytest.mark.parametrize("has_tls", [False, True], ids=["plain", "TLS"])
def test_its_health_check_asks_the_server_where_it_is(
    instructions: list[tuple[str, str]],
    tmp_path: Path,
    has_tls: bool,  # noqa: FBT001
) -> None:
    (health,) = values(instructions, "HEALTHCHECK")
    words = json.loads(health.partition("CMD ")[2])
    authority = Authority(tmp_path)
    files = authority.make(names="DNS:box.local")
    pair = {"tls_cert_file": str(files.certificate), "tls_key_file": str(files.key)} if has_tls else {}
    environment = {"MLXR_HOME": str(tmp_path / "home"), "http_proxy": "http://127.0.0.1:9"}

    def is_well() -> bool:
        done = subprocess.run([sys.executable, *words[1:]], env=environment, capture_output=True, check=False)
        return done.returncode == 0

    config = {"server": {**pair, "host": "0.0.0.0", "insecure_bind": True}}  # noqa: S104 - inside of the container
    Paths.under(tmp_path / "home").ensure_folders()
    gateway = GatewayProcess(tmp_path / "home", config=config, fake_options={})
    try:
        assert words[0] == "python"
        assert is_well()
    finally:
        assert gateway.stop() == 0
    assert not is_well()


def test_its_command_is_one_that_there_is(instructions: list[tuple[str, str]]) -> None:
    words = json.loads(values(instructions, "ENTRYPOINT")[0]) + json.loads(values(instructions, "CMD")[0])
    assert words[0] == "mlxr"
    with ROOT.make_context("mlxr", words[1:], resilient_parsing=True) as context:
        name, command, rest = ROOT.resolve_command(context, words[1:])
        assert name == "serve"
        assert command is not None
        with command.make_context(name, rest, parent=context) as serving:
            assert serving.params["host"] == "0.0.0.0"  # noqa: S104 - inside of the container
