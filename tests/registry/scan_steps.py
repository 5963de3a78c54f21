"""What tests of scans do again and again."""

from pathlib import Path

from registry.scan import ScanReport, ScanRoot, scan
from registry.store import Registry
from tests.registry.gguf_builder import Tensor, Value, build, llama_metadata, llama_model, text

MMPROJ = build({"general.architecture": text("clip"), "clip.has_vision_encoder": Value(7, 1)}, [Tensor()])
LORA = build({"general.architecture": text("llama"), "general.type": text("adapter")}, [Tensor()])
BROKEN = llama_model()[:-1]


def write(path: Path, data: bytes | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(llama_model() if data is None else data)
    return path


def scan_plain(store: Registry, *folders: Path) -> ScanReport:
    return scan(store, [ScanRoot(path=folder) for folder in folders])


def names(store: Registry) -> list[str]:
    return [model.name for model in store.models.list()]


def split_file(number: int, count: int) -> bytes:
    metadata = llama_metadata() if number == 0 else {}
    metadata |= {"split.no": Value(2, number), "split.count": Value(2, count), "split.tensors.count": Value(5, count)}
    return build(metadata, [Tensor(b"t%d" % number, (32, 4))])
