"""A model that sees, from a folder.

mlx-vlm builds the whole of a model; arrays that nobody has asked for yet are no more than places in their files. So the
tower's weights take no memory before its first picture.
"""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import mlx.core as mx
from mlx_vlm.utils import load_model

from backends.errors import LoadError
from backends.images.families import family_of
from backends.images.preparing import num_whole_rows
from backends.images.processor import tower_of
from backends.mlx.vision.config import as_mlx_vlm_reads
from backends.mlx.vision.inputs import VisionInputs
from backends.mlx.vision.model import VisionLanguageModel
from backends.mlx.vision.rows import RowTable
from backends.mlx.vision.tower import VisionTower
from backends.wire.load import VisionSpec

_FIRST_ROW_ID: Final = 1 << 24
"""Above any vocabulary, and far below the 31 bits that ids have on the device."""


class LoadedVision(NamedTuple):
    """A model that sees.

    Attributes:
        model: Takes the place of mlx-lm's.
        whole_rows: Rows that a step must be able to evaluate at once.
    """

    model: VisionLanguageModel
    tower: VisionTower
    inputs: VisionInputs
    whole_rows: int


def load_vision(model_path: str, spec: VisionSpec, *, dtype: mx.Dtype | None) -> LoadedVision:
    """Load a folder's model, and with it how it sees; the language model's weights are still to be asked for.

    Args:
        dtype: What all weights are turned into; None = they stay as they are.

    Raises:
        UnsupportedByModelError: It sees in no way that is known here.
        LoadError: It wants code of its own to be run, or remembers in a way of its own.
    """
    tower = tower_of(spec, model_path)
    whole = _load_whole(Path(model_path), dtype)
    vision_tower = VisionTower(whole, tower)
    if spec.is_preloaded:
        vision_tower.load(lambda: False)
    rows = RowTable(_FIRST_ROW_ID, whole.get_input_embeddings(mx.array([[0]])).inputs_embeds.dtype)
    uses_mrope = family_of(tower.family).uses_mrope
    model = VisionLanguageModel(whole, rows, uses_mrope=uses_mrope, is_bidirectional=tower.is_bidirectional)
    model.make_cache()  # so that a load fails, and not the first sequence
    return LoadedVision(model, vision_tower, VisionInputs(model, rows, uses_mrope=uses_mrope), num_whole_rows(tower))


def _load_whole(folder: Path, dtype: mx.Dtype | None) -> Any:
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if "model_file" in said:
        raise LoadError("config.json names a model_file: code that comes with a model is not run")
    config = as_mlx_vlm_reads(said)
    with contextlib.ExitStack() as stack:
        if config != said:
            folder = stack.enter_context(_with_config(folder, config))
        model = load_model(folder, lazy=True)
    if dtype is not None:
        model.set_dtype(dtype)
    return model


@contextlib.contextmanager
def _with_config(folder: Path, config: dict[str, Any]) -> Iterator[Path]:
    """Give a folder of links to a model's files, with another config.json; files that are open outlive it."""
    with tempfile.TemporaryDirectory(prefix="mlxr-") as name:
        for path in folder.iterdir():
            (Path(name) / path.name).symlink_to(path.resolve())
        (Path(name) / "config.json").unlink()
        (Path(name) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        yield Path(name)
