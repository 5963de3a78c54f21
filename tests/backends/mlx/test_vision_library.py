"""That mlx-vlm's model code runs on what requirements.txt has: it is installed without what it says it needs."""

import json
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FAMILIES = ("llava", "idefics3", "smolvlm", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "gemma3", "gemma4")
MODULES = {"opencv-python": "cv2", "python-multipart": "python_multipart", "mlx-audio": "mlx_audio"}
"""Where a package's module has another name."""
PROGRAM = """
import importlib, json, sys
from importlib.machinery import PathFinder

class Present(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else super().find_spec(name, path, target)

absent, modules = map(json.loads, sys.argv[1:])
sys.meta_path[:] = [Present if finder is PathFinder else finder for finder in sys.meta_path]
for module in modules:
    importlib.import_module(module)
"""


def names_in(lock: str) -> set[str]:
    return set(re.findall(r"(?m)^([a-z0-9.-]+)==", (ROOT / lock).read_text(encoding="utf-8")))


@pytest.mark.slow
def test_the_model_code_needs_none_of_the_packages_that_are_left_out() -> None:
    needed = {re.split(r"[<>=;\\[ ]", line)[0].lower() for line in requires("mlx-vlm") or [] if "extra ==" not in line}
    left_out = needed - names_in("requirements.txt")
    assert {"datasets", "opencv-python", "mlx-audio", "fastapi"} <= left_out
    absent = ["torch", "torchvision", *(MODULES.get(name, name) for name in sorted(left_out))]
    modules = ["mlx_vlm.utils", *(f"mlx_vlm.models.{family}" for family in FAMILIES)]
    command = [sys.executable, "-c", PROGRAM, json.dumps(absent), json.dumps(modules)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_engine_alone_brings_neither_it_nor_what_prepares_pictures() -> None:
    program = "import sys, backends.mlx.engine; print([m for m in ('mlx_vlm', 'backends.images') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_its_lock_has_it_alone_with_its_hashes() -> None:
    text = (ROOT / "requirements-vision.txt").read_text(encoding="utf-8")
    assert names_in("requirements-vision.txt") == {"mlx-vlm"}
    assert text.count("--hash=sha256:") == 2
