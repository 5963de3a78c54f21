"""The owner of what `auto` learned: a history that is read anew when it changes, and how requests went."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.bench_record import BenchRecord
from registry.catalogue import Artifact
from registry.engines import EngineKind
from registry.errors import DatabaseError
from registry.store import Registry
from registry.store.benches import BenchHead
from router.models.auto.decision import SWAP_PATIENCE_S
from router.models.auto.learning import AutoLearning, BenchHistory, Resident, installed_versions
from router.models.size import RequestSize
from tests.router.models.auto.histories import ARTIFACTS, HERE, VERSIONS, compared

NOW = 2000.0
SHORT, LONG = RequestSize(100, 50), RequestSize(4000, 50)


class FakeArtifact:
    def __init__(self, version: str) -> None:
        self.version = version


def artifacts(**versions: str) -> dict[EngineKind, Artifact]:
    return {engine: FakeArtifact(versions.get(engine, own)) for engine, own in ARTIFACTS.items()}  # type: ignore[misc]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry.db") as registry:
        registry.benches.add(compared((200.0, 60.0), (1000.0, 20.0)))
        yield registry


class Time:
    now = 0.0


def learning(history: BenchHistory) -> AutoLearning:
    return AutoLearning(
        history,
        machine_id=HERE,
        engine_versions=VERSIONS,
        wall_clock=lambda: NOW,
        clock=lambda: Time.now,
    )


def test_the_choice_follows_the_history_when_it_is_renewed(registry: Registry) -> None:
    auto = learning(registry.benches)
    assert auto.decide("m", artifacts(), LONG).engine == "mlx"
    assert auto.decide("m", artifacts(), SHORT).engine == "llamacpp"
    registry.benches.add(compared((1000.0, 20.0), (200.0, 60.0), created_at=1500.0, bench_id="b-2"))
    registry.benches.add(compared((1000.0, 20.0), (200.0, 60.0), created_at=1600.0, bench_id="b-3"))
    assert auto.decide("m", artifacts(), LONG).engine == "mlx", "it looks when it is told that something changed"
    auto.forget()
    assert auto.decide("m", artifacts(), LONG).engine == EngineKind.LLAMACPP
    assert auto.decide("m", artifacts(), SHORT).engine == EngineKind.MLX


def test_other_files_make_the_history_void(registry: Registry) -> None:
    auto = learning(registry.benches)
    assert auto.decide("m", artifacts(mlx="mlx-2"), LONG).engine is None
    assert auto.decide("m", artifacts(), LONG).engine == EngineKind.MLX


def test_a_model_without_history_is_not_decided(registry: Registry) -> None:
    assert learning(registry.benches).decide("other", artifacts(), LONG).engine is None


class Broken:
    def list(self, *_: object, **__: object) -> tuple[BenchHead, ...]:
        raise DatabaseError("gone")

    def get(self, _: str) -> BenchRecord:
        raise DatabaseError("gone")


def test_a_history_that_cannot_be_read_decides_nothing_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert learning(Broken()).decide("m", artifacts(), LONG).engine is None
    assert "cannot be read: gone" in caplog.text


def test_requests_that_would_have_been_faster_elsewhere_add_up_to_a_swap(registry: Registry) -> None:
    auto = learning(registry.benches)
    resident = EngineKind.MLX
    auto.resident_of = lambda _model: Resident(resident)
    chosen = []
    for _ in range(6):
        decision = auto.decide("m", artifacts(), SHORT)
        assert decision.engine is not None
        auto.note("m", decision.engine, SHORT, decision)
        resident = decision.engine
        chosen.append(resident)
    assert chosen[0] == "mlx"
    assert chosen[-1] == "llamacpp"
    decision = auto.decide("m", artifacts(), LONG)
    assert decision.engine == "llamacpp"
    assert "no swap within" in decision.why
    Time.now += SWAP_PATIENCE_S
    assert auto.decide("m", artifacts(), LONG).engine == EngineKind.MLX


def test_a_conversation_stays_where_its_cache_is(registry: Registry) -> None:
    auto = learning(registry.benches)
    auto.resident_of = lambda _model: Resident(EngineKind.LLAMACPP)
    talk = RequestSize(4000, 50, ((1, 2000), (2, 3950)))
    decision = auto.decide("m", artifacts(), talk)
    assert decision.engine == "mlx", "nobody has it yet"
    auto.note("m", EngineKind.LLAMACPP, talk, decision)
    Time.now += SWAP_PATIENCE_S
    later = RequestSize(4100, 50, ((1, 2000), (2, 3950), (3, 4100)))
    assert auto.decide("m", artifacts(), later).engine == EngineKind.LLAMACPP
    stranger = RequestSize(4100, 50, ((9, 2000), (8, 3950), (7, 4100)))
    assert auto.decide("m", artifacts(), stranger).engine == EngineKind.MLX


def test_the_installed_versions_are_found_without_importing() -> None:
    found = installed_versions()
    assert found[EngineKind.LLAMACPP]["llama-cpp-python"]
    assert set(found[EngineKind.MLX]) == {EngineKind.MLX, "mlx-lm"}
