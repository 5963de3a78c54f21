"""Where values of config.json are looked for, and that models whose files have them elsewhere are the same."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backends.mlx.vision.config import as_mlx_vlm_reads
from tests.support.bare_engine import BareEngine, load
from tests.support.image_prompts import ImagePrompts, user
from tests.support.tiny_vision import VisionModel, patchwork

Config = dict[str, Any]


def nested(config: Config) -> Config:
    """Move what is said of the texts into a section of its own, as transformers 4.52 does."""
    text = config["text_config"]
    return {key: value for key, value in config.items() if key not in text or key == "model_type"}


def with_new_rope(config: Config) -> Config:
    """Say the frequencies as transformers 5 does."""
    text = dict(config["text_config"])
    scaling = dict(text.pop("rope_scaling", None) or {})
    kind = scaling.pop("type", "default")
    parameters: Config = {"rope_theta": text.pop("rope_theta"), "rope_type": kind} | scaling
    if config["model_type"] == "gemma3":
        local = {"rope_theta": text.pop("rope_local_base_freq"), "rope_type": "default"}
        parameters = {"full_attention": parameters, "sliding_attention": local}
    return config | {"text_config": text | {"rope_parameters": parameters}}


def silent(config: Config) -> Config:
    """Leave out the width beside that of the texts, as published files do."""
    return {key: value for key, value in config.items() if key != "hidden_size"}


@pytest.mark.parametrize("config", [{}, {"model_type": "llava", "text_config": None}, {"model_type": "llava"}])
def test_what_says_nothing_of_texts_stays(config: Config) -> None:
    assert as_mlx_vlm_reads(config) == config


def test_gemma_4_reads_the_new_names_itself() -> None:
    config = {"model_type": "gemma4", "text_config": {"rope_parameters": {"full_attention": {"rope_theta": 5.0}}}}
    assert as_mlx_vlm_reads(config) == config


def test_old_names_win() -> None:
    text = {"rope_theta": 3.0, "rope_parameters": {"rope_theta": 5.0}}
    assert as_mlx_vlm_reads({"model_type": "llava", "text_config": text})["text_config"] == text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("gemma3", [silent]),
        ("gemma3", [silent, with_new_rope]),
        ("qwen2_vl", [nested]),
        ("qwen2_5_vl", [nested, with_new_rope]),
        ("qwen3_vl", [with_new_rope]),
        ("idefics3", [with_new_rope]),
        ("llava", [with_new_rope]),
    ],
)
def test_a_model_is_the_same_however_its_config_is_written(
    family: str,
    changes: list[Callable[[Config], Config]],
    vision_model: Callable[[str], VisionModel],
    tmp_path: Path,
) -> None:
    model = vision_model(family)
    folder = tmp_path / "changed"
    shutil.copytree(model.folder, folder)
    config = json.loads((folder / "config.json").read_text())
    for change in changes:
        config = change(config)
    (folder / "config.json").write_text(json.dumps(config))
    answers = []
    for each in (model, model._replace(folder=folder)):
        engine = load("mlx", each.load_spec("mlx"))
        assert engine.evaluates_rows, engine.why_text_only
        prompt = ImagePrompts("mlx", engine, each).chat(user(patchwork(1), "What is it?"))
        for span in prompt.spans:
            assert engine.encode(span.tile, lambda: False)
        answers.append(BareEngine(engine).fresh_answer(prompt.token_ids, 12, prompt.spans))
        engine.close()
    assert answers[0] == answers[1]
