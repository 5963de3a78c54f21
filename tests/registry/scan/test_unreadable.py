"""Folders that the system does not let us look into: another user's, or on macOS those that privacy settings close."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registry.gguf_builder import llama_model
from tests.registry.mlx_builder import write_mlx_dir

PROJECT = Path(__file__).parents[3]

# Root may look everywhere, so somebody else scans: the folders as they are, and then with one of them closed.
_SCANS = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from registry.scan import ScanRoot, scan
from registry.scan.watch import what_changed
from registry.store import Registry
folder, layout = Path(sys.argv[2]), sys.argv[3]
roots = [ScanRoot(path=folder / "models", layout=layout), ScanRoot(path=folder / "others")]
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
seen = {}
for closed in ("models", "models/sub", "models/sub/x-mlx"):
    for mode in ("444", "111", "000"):
        with Registry(folder / f"{closed.replace('/', '-')}-{mode}.sqlite3") as registry:
            scan(registry, roots)
            (folder / closed).chmod(int(mode, 8))
            report = scan(registry, roots, watched=set())
            artifacts = [artifact for model in registry.models.list() for artifact in model.artifacts]
            seen[f"{closed} {mode}"] = {
                "ok": [artifact.path for artifact in artifacts if artifact.status == "ok"],
                "reasons": [artifact.reason or what_changed(artifact) or "" for artifact in artifacts]
                + [failure.reason for failure in report.failed],
            }
            (folder / closed).chmod(0o700)
print(json.dumps(seen))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of nobody's; pytest's own are closed to everybody but the user who runs it."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "models" / "sub").mkdir(parents=True)
        (root / "models" / "sub" / "a.gguf").write_bytes(llama_model())
        (root / "models" / "link.gguf").symlink_to(root / "models" / "sub" / "a.gguf")
        write_mlx_dir(root / "models" / "sub" / "x-mlx")
        (root / "others").mkdir()
        (root / "others" / "b.gguf").write_bytes(llama_model() + b"\0")
        if os.geteuid() == 0:
            for path in (root, *root.rglob("*")):
                os.chown(path, 65534, 65534, follow_symlinks=False)
        yield root


@pytest.mark.parametrize("layout", ["plain", "hf_cache", "lm_studio", "ollama"])
def test_a_folder_that_may_not_be_read_hides_no_other(folder: Path, layout: str) -> None:
    command = [sys.executable, "-c", _SCANS, str(PROJECT), str(folder), layout]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    seen = json.loads(done.stdout)
    assert len(seen) == 9
    for case, found in seen.items():
        assert str(folder / "others" / "b.gguf") in found["ok"], case
    if layout == "plain":
        assert all(any("by this user" in reason for reason in seen[case]["reasons"]) for case in seen if "000" in case)
