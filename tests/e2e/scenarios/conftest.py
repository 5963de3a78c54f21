"""Scenarios as the command line runs them, on one gateway with two workers of the fake engine."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from examples.stage.server import at_once
from registry.scan import register_path
from registry.store import Registry
from router.cli.app import main
from router.config.paths import Paths
from tests.support.gateway_process import GatewayProcess
from tests.support.tiny_vision import VisionModel
from tests.support.waiting import wait_until

NUM_WORKERS = 2
CONFIG: dict[str, Any] = {"generation": {"workers": NUM_WORKERS}}


class Ran(NamedTuple):
    """What a run of a scenario came to; `document` is what --json printed, {} where it printed none."""

    code: int
    document: dict[str, Any]
    said: str

    @property
    def why(self) -> Any:
        """What does not hold, or what was said where nothing came."""
        return [check for check in self.document.get("checks", []) if not check["holds"]] or self.said

    def holds(self, claim: str) -> bool:
        """Whether a check with these words was made, and holds."""
        return any(claim in check["claim"] and check["holds"] for check in self.document["checks"])


RunScenario = Callable[..., Ran]


class ScenarioGateway(NamedTuple):
    """A gateway, and the folder of its engines' gates."""

    process: GatewayProcess
    gates: Path

    def num_decoding(self) -> int:
        """How many requests have their first token; they have no other one while the gate `decode` is closed."""
        return sum(any(request["output_tokens"]) for request in self._requests())

    def num_assigned(self) -> int:
        """How many requests have a worker; none of them comes to its end while the gate `prefill` is closed."""
        return sum(request["worker"] is not None for request in self._requests())

    def _requests(self) -> list[dict[str, Any]]:
        requests: list[dict[str, Any]] = self.process.get("/v1/mlxr/requests")["requests"]
        return requests


@pytest.fixture(scope="session")
def scenario_gateway(
    tmp_path_factory: pytest.TempPathFactory,
    make_home: Callable[[Path], Path],
    vision_model: Callable[[str], VisionModel],
) -> Iterator[ScenarioGateway]:
    folder = tmp_path_factory.mktemp("scenarios")
    gates = folder / "gates"
    gates.mkdir()
    home = make_home(folder / "home")
    with Registry(Paths.under(home).registry_db) as registry:
        register_path(registry, vision_model("llava").text_gguf, name="eye")
    options = {"decode_s": 0.002, "gates": str(gates), "answers": [["Summarize", "{facts}"]]}
    gateway = GatewayProcess(home, config=CONFIG, fake_options=options)
    yield ScenarioGateway(gateway, gates)
    assert gateway.stop() == 0


def held(gate: Path, until: Callable[[], object], calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Do all at the same time behind a closed gate, which is opened once something holds."""

    def open_gate() -> None:
        try:
            wait_until(until, f"{gate.name} can be opened")
        finally:
            gate.unlink(missing_ok=True)

    gate.touch()
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(open_gate)
        came = at_once(calls)
        opening.result()
    return came


@pytest.fixture
def all_begin_before_one_ends(monkeypatch: pytest.MonkeyPatch, scenario_gateway: ScenarioGateway) -> None:
    """Requests that are sent together run together, however slow the machine is."""

    def burst(calls: Sequence[Callable[[], Any]]) -> list[Any]:
        return held(scenario_gateway.gates / "prefill", lambda: scenario_gateway.num_assigned() == len(calls), calls)

    def phase(calls: Sequence[Callable[[], Any]]) -> list[Any]:
        if len(calls) == 1:
            return at_once(calls)
        return held(scenario_gateway.gates / "decode", lambda: scenario_gateway.num_decoding() == len(calls), calls)

    monkeypatch.setattr("examples.burst.at_once", burst)
    monkeypatch.setattr("examples.review.performing.at_once", phase)


@pytest.fixture
def run_scenario(
    scenario_gateway: ScenarioGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> RunScenario:
    """Run `mlxr scenario run` with the tiny model, in this process: only gateway and workers have to be others."""
    monkeypatch.setenv("MLXR_HOME", str(scenario_gateway.process.home))

    def run(*arguments: str, model: str | None = "tiny", is_json: bool = True) -> Ran:
        asked = [*([] if model is None else ["--model", model]), *arguments, *(["--json"] if is_json else [])]
        code = main(["scenario", "run", *asked])
        printed = capsys.readouterr()
        document = json.loads(printed.out) if is_json and printed.out else {}
        return Ran(code, document, printed.err if is_json else printed.out)

    return run
