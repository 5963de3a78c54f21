"""Benchmarks of models that see: over the fake engine at set speeds, and over a tiny model on both engines."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.e2e.test_bench import QUICK, codes, measured
from tests.support.gateway_process import GatewayProcess, run_cli
from tests.support.tiny_vision import VisionModel

ENCODE_S = 0.02
LOOK = ("--repeats", "3", "--scenarios", "look", "--no-quality")


def home_with_eyes(home: Path, model: VisionModel) -> Path:
    """Add a model that sees on both engines, by the name `eye`."""
    paths = Paths.under(home)
    with Registry(paths.registry_db) as registry:
        for path in (model.text_gguf, model.folder):
            register_path(registry, path, name="eye")
    return home


@pytest.fixture(scope="module")
def fake(
    tmp_path_factory: pytest.TempPathFactory,
    make_home: Callable[[Path], Path],
    vision_model: Callable[[str], VisionModel],
) -> Iterator[GatewayProcess]:
    home = home_with_eyes(make_home(tmp_path_factory.mktemp("look") / "home"), vision_model("llava"))
    gateway = GatewayProcess(home, fake_options=QUICK | {"encode_s": ENCODE_S})
    yield gateway
    assert gateway.stop() == 0


def looks(record: dict[str, Any], contestant: int, image: str) -> list[dict[str, Any]]:
    return [
        sample
        for sample in record["samples"]
        if (sample["scenario"], sample["contestant"], sample.get("image")) == ("look", contestant, image)
    ]


def check_looks(record: dict[str, Any], num_rows: int) -> None:
    """See that both contestants were shown each picture twice, and made its rows once."""
    assert codes(record).isdisjoint({"cached_pictures", "cached_prompts", "no_answers"})
    for contestant in (0, 1):
        new, again = looks(record, contestant, "new"), looks(record, contestant, "again")
        assert {sample["round"] for sample in new} == {sample["round"] for sample in again} >= {0, 1, 2}
        for sample in new:
            assert (sample.get("error"), sample["is_image_cached"], sample["num_image_tokens"]) == (
                None,
                False,
                num_rows,
            )
            assert sample["encode_ms"] > 0
            assert sample["num_prompt_tokens"] > num_rows
        for sample in again:
            assert (sample.get("error"), sample["is_image_cached"], sample.get("encode_ms")) == (None, True, None)
            assert sample["num_cached_tokens"] >= num_rows


def test_pictures_are_measured_new_and_again(fake: GatewayProcess) -> None:
    record = measured(fake, *LOOK, model="eye")
    check_looks(record, num_rows=16)
    for contestant in (0, 1):
        assert all(sample["encode_ms"] >= 1000 * ENCODE_S for sample in looks(record, contestant, "new"))
        figures = record["summary"]["scenarios"][0]["contestants"][contestant]["figures"]
        assert 0 < figures["rows_per_s"]["value"] <= 16 / ENCODE_S
        assert figures["ttft_p50_ms"]["value"] >= 1000 * ENCODE_S
        assert figures["ttft_again_ms"]["value"] > 0
    assert figures["equal_answers_percent"]["num"] >= 6
    assert figures["equal_answers_percent"]["value"] == 100
    shown = run_cli(fake.home, "bench", "show", record["bench_id"], "--csv")
    assert ",rows_per_s,rows/s," in shown.stdout


def test_by_default_they_are_shown_where_all_see_and_left_out_with_the_reason_elsewhere(fake: GatewayProcess) -> None:
    arguments = ("--repeats", "1", "--no-quality", "--minutes", "2", "--parallel", "2")
    seeing = measured(fake, *arguments, model="eye")
    assert {each["name"]: each.get("skipped") for each in seeing["scenarios"]}["look"] is None
    blind = measured(fake, *arguments)
    reason = {each["name"]: each.get("skipped") for each in blind["scenarios"]}["look"]
    assert reason.startswith("the model cannot see: it has no vision ")
    assert looks(blind, 0, "new") == []


def test_one_that_cannot_see_leaves_them_out_for_all(fake: GatewayProcess) -> None:
    arguments = ("--repeats", "1", "--no-quality", "--scenarios", "look,short-chat")
    record = measured(fake, *arguments, "--a", "llamacpp", "--b", "llamacpp vision=off", model="eye")
    skipped = {each["name"]: each.get("skipped") for each in record["scenarios"]}
    assert skipped == {
        "short-chat": None,
        "look": "llamacpp vision=off cannot see: it is loaded with vision: off",
    }
    assert {sample["scenario"] for sample in record["samples"]} == {"short-chat"}


def test_a_run_of_pictures_alone_is_refused_where_nobody_sees(fake: GatewayProcess) -> None:
    done = run_cli(fake.home, "bench", "tiny", "--scenarios", "look")
    assert (done.returncode, done.stdout) == (2, "")
    assert "look: the model cannot see: it has no vision" in done.stderr
    refused = fake.post("/v1/mlxr/bench", {"model": "tiny", "scenarios": ["look"]})
    assert refused.status_code == 400
    assert "the model cannot see" in refused.json()["error"]["message"]


def test_of_a_server_by_url_only_what_was_measured_is_kept(
    fake: GatewayProcess,
    tmp_path: Path,
    make_home: Callable[[Path], Path],
    vision_model: Callable[[str], VisionModel],
) -> None:
    home = home_with_eyes(make_home(tmp_path / "home"), vision_model("llava"))
    other = GatewayProcess(home, fake_options=QUICK)
    both = ("--a", "llamacpp", "--b")
    try:
        record = measured(fake, *LOOK, *both, f"{other.url}#eye@llamacpp", model="eye")
        done = run_cli(
            fake.home, "bench", "eye", *both, f"{other.url}#tiny@llamacpp", "--scenarios", "look", "--no-quality"
        )
    finally:
        other.stop()
    foreign = looks(record, 1, "new") + looks(record, 1, "again")
    assert len(foreign) >= 6
    for sample in foreign:
        told = ("error", "encode_ms", "is_image_cached", "num_image_tokens")
        assert [sample.get(name) for name in told] == [None] * 4
    figures = record["summary"]["scenarios"][0]["contestants"][1]["figures"]
    assert figures["encode_ms"]["value"] is figures["rows_per_s"]["value"] is None
    assert figures["ttft_p50_ms"]["value"] > 0
    assert figures["ttft_again_ms"]["value"] > 0
    assert figures["equal_answers_percent"]["value"] == 100
    assert done.returncode == 2
    assert "#tiny@llamacpp cannot see" in done.stderr


def test_the_same_engine_twice_knows_the_picture_and_says_so(fake: GatewayProcess) -> None:
    record = measured(fake, "--repeats", "1", *LOOK[2:], "--a", "llamacpp", "--b", "llamacpp", model="eye")
    assert "cached_pictures" in codes(record)


@pytest.mark.slow
def test_a_tiny_model_is_measured_on_both_engines(
    tmp_path: Path, make_home: Callable[[Path], Path], vision_model: Callable[[str], VisionModel]
) -> None:
    pytest.importorskip("mlx_vlm")
    home = home_with_eyes(make_home(tmp_path / "home"), vision_model("llava"))
    gateway = GatewayProcess(home)
    try:
        record = measured(gateway, *LOOK, "--minutes", "3", model="eye")
    finally:
        gateway.stop()
    assert [one["engine"] for one in record["contestants"]] == ["mlx", "llamacpp"]
    check_looks(record, num_rows=16)
    figures = record["summary"]["scenarios"][0]["contestants"][1]["figures"]
    assert figures["equal_answers_percent"]["num"] >= 6
    assert figures["rows_per_s"]["value"] > 0
