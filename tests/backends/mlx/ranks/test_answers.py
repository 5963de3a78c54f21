"""A model over two ranks answers as in one process: a chosen part of the contract suite, on one group.

The whole suite runs so by `pytest tests/backends/contract --over-ranks`.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backends.base import LoadedEngine
from backends.errors import LoadError
from backends.logits import Logits, Matcher
from backends.mlx.engine import MLXEngine
from backends.mlx.ranks.leading import _check_devices
from backends.wire.load import LoadSpec, RankHost
from backends.wire.request import Pooling, SamplingParams
from tests.support import tiny_model
from tests.support.bare_engine import BareEngine, text_ids
from tests.support.engine_driver import EngineDriver

pytestmark = pytest.mark.slow

TWO = (RankHost(), RankHost())
_REPOSITORY = Path(__file__).parents[4]
SEEDED = SamplingParams(temperature=0.9, top_p=0.95, seed=5)
EDITED = SamplingParams(temperature=0.8, seed=3, num_logprobs=2, frequency_penalty=0.7, repetition_penalty=1.2)


SCORED = SamplingParams(temperature=0, num_prompt_logprobs=1)


class Pair(NamedTuple):
    """One model in this process, and over this process and another one."""

    engine: MLXEngine
    path: Path
    whole: LoadedEngine
    spread: LoadedEngine


def spec_of(path: Path, hosts: tuple[RankHost, ...] = ()) -> LoadSpec:
    return LoadSpec(model_path=str(path), context_length=256, max_sequences=4, hosts=hosts)


def load(engine: MLXEngine, path: Path, hosts: tuple[RankHost, ...] = ()) -> LoadedEngine:
    return engine.load(spec_of(path, hosts), lambda _fraction: None)


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest) -> Iterator[MLXEngine]:
    if request.config.getoption("--over-ranks"):
        pytest.skip("a process has one group, and the contract suite has it")
    engine = MLXEngine()
    yield engine
    if engine._rank_loads is not None:
        engine._rank_loads.close()


@pytest.fixture(scope="module")
def pair(engine: MLXEngine, tiny_mlx: Path) -> Iterator[Pair]:
    pair = Pair(engine, tiny_mlx, load(engine, tiny_mlx), load(engine, tiny_mlx, TWO))
    yield pair
    pair.spread.close()
    pair.whole.close()


def scenario(engine: LoadedEngine) -> list[list[int]]:
    """Two in a batch, one of them seeded; one held while a third prefills in chunks; a retired one forked."""
    bare = BareEngine(engine)
    first, second = bare.insert(text_ids(5, 1)), bare.insert(text_ids(3, 2), SEEDED)
    answers = bare.run(first, second, num_tokens=6)
    third = bare.insert(text_ids(68, 3))
    answers += bare.run(first, third, num_tokens=9)
    answers += bare.run(second, num_tokens=9)
    num_kept = bare.retire(third)
    fork = bare.fork(third, num_kept, [*third.token_ids[:num_kept], *text_ids(3, 4)])
    assert fork is not None
    answers += bare.run(fork, num_tokens=5)
    bare.close()
    return answers


def test_batches_seeds_holds_chunks_and_forks_give_the_same_tokens(pair: Pair) -> None:
    assert scenario(pair.spread) == scenario(pair.whole)


def test_edited_draws_and_likelihoods_are_the_same(pair: Pair) -> None:
    def answered(engine: LoadedEngine) -> tuple[list[int], list[float]]:
        driver = EngineDriver(engine)
        answer = driver.answer("The quick fox", EDITED, max_tokens=8, ignore_eos=True)
        driver.close()
        return answer.token_ids, [each.drawn.logprob for each in driver.batcher.likelihoods[1]]

    (ours, our_logprobs), (theirs, their_logprobs) = answered(pair.spread), answered(pair.whole)
    assert ours == theirs
    assert our_logprobs == pytest.approx(their_logprobs, abs=1e-4)


class Even(Matcher):
    """Lets tokens of even ids come, and knows which came."""

    def __init__(self) -> None:
        self.accepted: list[int] = []

    def mask(self, logits: Logits) -> None:
        logits[1::2] = -np.inf

    def accept(self, token_id: int) -> None:
        self.accepted.append(token_id)

    @property
    def is_complete(self) -> bool:
        return False


def test_a_constraint_is_followed_by_rank_0_alone(pair: Pair) -> None:
    matcher = Even()
    driver = EngineDriver(pair.spread)
    other = driver.submit("beside it", SEEDED, max_tokens=8, ignore_eos=True)
    answer = driver.answer("hello", SEEDED, max_tokens=8, matcher=matcher, ignore_eos=True)
    driver.close()
    assert len(answer.token_ids) == len(driver.answers[other].token_ids) == 8
    assert matcher.accepted == answer.token_ids
    assert all(token_id % 2 == 0 for token_id in answer.token_ids)


def test_scores_of_prompts_and_vectors_are_the_same(pair: Pair) -> None:
    def told(engine: LoadedEngine) -> list[float]:
        driver = EngineDriver(engine)
        prompt = driver.answer("x" * 40, SCORED, max_tokens=2).prompt
        driver.close()
        scores = [token.logprob for token in prompt if token.logprob is not None]
        assert len(scores) == len(prompt) - 1
        encoder = engine.create_encoder(Pooling.MEAN, 64)
        encoder.start(text_ids(40))
        vectors = (encoder.step(64, lambda: False) for _ in range(40))
        vector = next(vector for vector in vectors if vector is not None)
        encoder.close()
        return [*scores, *np.frombuffer(vector, "<f4").tolist()]

    assert told(pair.spread) == pytest.approx(told(pair.whole), abs=1e-4)


def test_a_model_whose_heads_are_uneven_is_split_by_layers(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one of qwen2's type, whose code has both; with one KV head no layer can be shared out."""
    monkeypatch.setattr(tiny_model, "NUM_KV_HEADS", 1)
    folder = tiny_model.write_mlx(tmp_path / "qwen2")
    as_qwen2(folder)
    whole, spread = load(pair.engine, folder), load(pair.engine, folder, TWO)
    assert scenario(spread) == scenario(whole)
    spread.close()
    whole.close()


def as_qwen2(folder: Path) -> None:
    """Make the tiny llama one of qwen2's type, which has biases."""
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "qwen2"}
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    for name, weight in list(weights.items()):
        if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
            weights[name.replace(".weight", ".bias")] = np.zeros(len(weight), np.float32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "mlx"})


def test_what_a_rank_refuses_is_the_loads_error_and_the_group_goes_on(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="nowhere"):
        load(pair.engine, tmp_path / "nowhere", TWO)
    assert scenario(pair.spread) == scenario(pair.whole)


@pytest.mark.parametrize(
    ("devices", "is_fine"),
    [
        (((None, "rdma_en2"), ("rdma_en2", None)), True),
        (((None, "rdma_en2"), ()), False),
        ((("rdma_en2", None), ("rdma_en2", None)), False),
    ],
)
def test_jaccl_takes_a_device_towards_each_other_host(devices: Any, is_fine: bool) -> None:  # noqa: FBT001
    hosts = tuple(RankHost(devices=each) for each in devices)
    if is_fine:
        _check_devices(hosts)
        return
    with pytest.raises(LoadError, match="towards each host and - towards itself"):
        _check_devices(hosts)


def test_adapters_and_other_hosts_are_refused_by_name(pair: Pair) -> None:
    with pytest.raises(LoadError, match="an adapter does not go with hosts"):
        pair.engine.load(msgspec.structs.replace(spec_of(pair.path, TWO), adapter_path="/a"), lambda _fraction: None)
    with pytest.raises(LoadError, match="one group of ranks"):
        load(pair.engine, pair.path, (*TWO, RankHost()))


def test_caches_are_not_saved_and_no_drafts_are_made(pair: Pair) -> None:
    bare = BareEngine(pair.spread)
    sequence = bare.insert(text_ids(5))
    bare.run(sequence, num_tokens=2)
    assert bare.retire(sequence)
    assert pair.spread.export_cache(sequence.sequence_id) is None
    assert pair.spread.load_cache(pair.path, 99, text_ids(5)) == 0
    assert "sees no pictures" in str(pair.spread.why_text_only)
    assert pair.spread.model.why_no_drafts == "a model over several hosts has no drafts"
    bare.close()


def test_whoever_has_no_hosts_imports_none_of_it() -> None:
    code = (
        "import sys; from backends.engines import create_engine; create_engine('mlx').info();"
        "sys.exit(any(name.startswith('backends.mlx.ranks') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


KILLED = 'running_children("backends.mlx.ranks.process")[0].kill()'
DISAGREES = "spread._ledger.note(1); BareEngine(spread).insert([65])"


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (KILLED, "rank 1 on this machine is gone"),
        (DISAGREES, "rank 1 on this machine: it disagrees with rank 0 on what came before Insert"),
    ],
    ids=["killed", "disagrees"],
)
def test_a_rank_that_dies_or_disagrees_loses_the_engine_for_good(tiny_mlx: Path, event: str, words: str) -> None:
    """In a process of its own, which has no group afterwards."""
    code = f"""
from pathlib import Path
from backends.errors import EngineLostError, LoadError
from tests.backends.mlx.ranks.test_answers import TWO, BareEngine, MLXEngine, load
from tests.support.processes import running_children
from tests.support.waiting import wait_until
engine, path, told = MLXEngine(), Path({str(tiny_mlx)!r}), []
spread = load(engine, path, TWO)
spread.watch(told.append)
{event}
wait_until(lambda: told, "its end is told")
print("told", told[0])
for tried in (lambda: BareEngine(spread).insert([65, 66]), lambda: load(engine, path, TWO)):
    try:
        tried()
    except (EngineLostError, LoadError) as exc:
        print(type(exc).__name__, exc)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_REPOSITORY)
    kinds = [line.partition(" ")[0] for line in done.stdout.splitlines()]
    assert kinds == ["told", "EngineLostError", "LoadError"]
    assert all(words in line for line in done.stdout.splitlines())
