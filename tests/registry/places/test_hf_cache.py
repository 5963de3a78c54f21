"""Scans of the Hugging Face cache."""

import os
from pathlib import Path

from registry.scan import ScanRoot, scan
from registry.store import Registry
from tests.registry.gguf_builder import llama_model, u32
from tests.registry.mlx_builder import write_mlx_dir
from tests.registry.scan_steps import names, write


def hf_file(hub: Path, repo: str, commit: str, name: str, data: bytes) -> Path:
    folder = hub / f"models--{repo.replace('/', '--')}"
    blob = write(folder / "blobs" / f"{abs(hash((commit, name))):040x}", data)
    link = folder / "snapshots" / commit / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(blob, link.parent))
    return link


def test_reads_the_current_snapshot_of_the_hf_cache(store: Registry, tmp_path: Path) -> None:
    hub, old, new = tmp_path / "hub", "a" * 40, "b" * 40
    hf_file(hub, "Bartowski/Tiny-GGUF", old, "Tiny-Q4_0.gguf", llama_model())
    (hub / "models--Bartowski--Tiny-GGUF" / "refs").mkdir()
    ref = hub / "models--Bartowski--Tiny-GGUF" / "refs" / "main"
    ref.write_text(old)
    roots = [ScanRoot(path=hub, layout="hf_cache")]
    scan(store, roots)
    (model,) = store.models.list()
    assert model.name == "tiny"
    assert f"/snapshots/{old}/" in model.artifacts[0].path

    hf_file(hub, "Bartowski/Tiny-GGUF", new, "Tiny-Q4_0.gguf", llama_model(llama__context_length=u32(77)))
    ref.write_text(new)
    report = scan(store, roots)
    (model,) = store.models.list()
    assert f"/snapshots/{new}/" in model.artifacts[0].path
    assert model.artifacts[0].facts.context_length == 77
    assert len(report.updated) == 1
    assert report.missing == ()


def test_a_hostile_ref_leads_nowhere(store: Registry, tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    hf_file(hub, "o/tiny", "c" * 40, "tiny.gguf", llama_model())
    write(hub / "models--o--tiny" / "refs" / "main", b"../../../../etc")
    write(hub / "models--o--empty" / "refs" / "main", b"x")
    (hub / "version.txt").write_text("1")
    scan(store, [ScanRoot(path=hub, layout="hf_cache")])
    assert names(store) == ["tiny"]


def test_an_mlx_repository_is_named_after_the_repository(store: Registry, tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    source = write_mlx_dir(tmp_path / "source")
    for file in source.iterdir():
        hf_file(hub, "mlx-community/Tiny-Llama-4bit", "d" * 40, file.name, file.read_bytes())
    hf_file(hub, "org/Tiny-Llama-GGUF", "e" * 40, "Tiny-Llama-Q4_K_M.gguf", llama_model())
    scan(store, [ScanRoot(path=hub, layout="hf_cache")])
    (model,) = store.models.list()
    assert (model.name, model.engines) == ("tiny-llama", ("llamacpp", "mlx"))
