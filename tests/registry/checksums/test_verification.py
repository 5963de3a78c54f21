import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.catalogue import Artifact
from registry.checksums.sha256 import HashingStoppedError
from registry.checksums.verification import read_facts, size_to_verify, verify
from registry.scan import register_path, scan
from registry.store import Registry
from registry.store.files import VerifiedFile
from tests.registry.scan.test_pairing import gemma
from tests.support.tiny_vision import VisionModel

VisionModels = Callable[[str], VisionModel]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry.sqlite3") as registry:
        yield registry


@pytest.fixture
def gguf(tmp_path: Path, tiny_gguf: Path) -> Path:
    return Path(shutil.copy(tiny_gguf, tmp_path / "tiny.gguf"))


def added(registry: Registry, path: Path) -> Artifact:
    (artifact,) = register_path(registry, path).artifacts
    return artifact


def now(registry: Registry, path: Path) -> Artifact:
    artifact = registry.artifacts.find(path)
    assert artifact is not None
    return artifact


def flip_a_byte(path: Path) -> None:
    """Change the last byte and nothing that a scan looks at."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_sound_model_is_ok_and_its_checksum_is_recorded(registry: Registry, gguf: Path) -> None:
    artifact = added(registry, gguf)
    sizes: list[int] = []
    result = verify(registry, artifact, on_progress=sizes.append)
    assert (result.state, result.num_compared, result.num_files) == ("ok", 0, 1)
    assert sum(sizes) == result.num_bytes == gguf.stat().st_size == size_to_verify([artifact])
    assert now(registry, gguf).sha256 == hashlib.sha256(gguf.read_bytes()).hexdigest()
    assert verify(registry, now(registry, gguf)).num_compared == 1


def test_one_flipped_bit_is_found_once_the_checksum_is_known(registry: Registry, gguf: Path) -> None:
    artifact = added(registry, gguf)
    verify(registry, artifact)
    flip_a_byte(gguf)
    result = verify(registry, artifact)
    assert result.state == "bad"
    assert result.problem is not None
    assert "tiny.gguf has other bytes than it should" in result.problem
    marked = now(registry, gguf)
    assert (marked.status, marked.reason) == ("bad", result.problem)
    assert verify(registry, marked).state == "bad", "the bad checksum did not take the good one's place"


@pytest.mark.parametrize("kind", ["sha256", "sha1"])
def test_what_the_hub_said_counts_from_the_first_time_on(registry: Registry, gguf: Path, kind: str) -> None:
    data = gguf.read_bytes()
    git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    value = hashlib.sha256(data).hexdigest() if kind == "sha256" else git
    with Registry(registry.path) as pulls:
        pulls.files.put_verified(f"{kind}-{value}", VerifiedFile(str(gguf), len(data), gguf.stat().st_mtime_ns))
    artifact = added(registry, gguf)
    result = verify(registry, artifact)
    assert (result.state, result.num_compared) == ("ok", 1)
    flip_a_byte(gguf)
    assert verify(registry, artifact).state == "bad"


def test_a_name_that_is_a_checksum_is_held_to_it(registry: Registry, tmp_path: Path, gguf: Path) -> None:
    blob = tmp_path / hashlib.sha256(b"something else").hexdigest()
    gguf.rename(blob)
    link = tmp_path / "model.gguf"
    link.symlink_to(blob)
    assert verify(registry, added(registry, link)).state == "bad"


def test_a_file_that_is_gone_is_missing(registry: Registry, gguf: Path) -> None:
    artifact = added(registry, gguf)
    gguf.unlink()
    assert verify(registry, artifact).state == "missing"
    assert now(registry, gguf).status == "missing"


def test_a_replaced_file_is_left_to_the_scan(registry: Registry, gguf: Path) -> None:
    artifact = added(registry, gguf)
    os.utime(gguf, ns=(1, 1))
    result = verify(registry, artifact)
    assert result.state == "changed"
    assert now(registry, gguf).status == "ok"
    scan(registry, [])


def test_a_header_that_no_longer_parses_is_bad(registry: Registry, gguf: Path) -> None:
    artifact = added(registry, gguf)
    before = gguf.stat()
    with gguf.open("r+b") as file:
        file.write(b"GGML")
    os.utime(gguf, ns=(before.st_atime_ns, before.st_mtime_ns))
    result = verify(registry, artifact)
    assert result.state == "bad"
    assert now(registry, gguf).sha256 is None


def test_every_file_of_a_folder_is_read(registry: Registry, tmp_path: Path, tiny_mlx: Path) -> None:
    folder = Path(shutil.copytree(tiny_mlx, tmp_path / "tiny"))
    artifact = added(registry, folder)
    assert verify(registry, artifact).num_files == len(artifact.files) > 2
    flip_a_byte(folder / "model.safetensors")
    result = verify(registry, artifact)
    assert result.problem is not None
    assert "model.safetensors" in result.problem


def test_facts_can_be_read_again(registry: Registry, gguf: Path) -> None:
    artifact = added(registry, gguf)
    assert read_facts(artifact) == artifact.facts


def test_a_projector_is_verified_with_its_model(registry: Registry, gguf: Path, vision_model: VisionModels) -> None:
    projector = Path(shutil.copy(vision_model("llava").projector, gguf.with_name("mmproj-f32.gguf")))
    artifact = added(registry, gguf)
    assert artifact.mmproj_path == str(projector)
    result = verify(registry, artifact)
    assert (result.state, result.num_files, result.num_compared) == ("ok", 2, 0)
    assert result.num_bytes == gguf.stat().st_size + projector.stat().st_size == size_to_verify([artifact])
    assert now(registry, gguf).sha256 == hashlib.sha256(gguf.read_bytes()).hexdigest()
    assert verify(registry, artifact).num_compared == 2
    flip_a_byte(projector)
    assert "mmproj-f32.gguf has other bytes" in (verify(registry, artifact).problem or "")


def test_a_projector_that_is_gone_or_another_is_told(
    registry: Registry, gguf: Path, vision_model: VisionModels
) -> None:
    projector = Path(shutil.copy(vision_model("llava").projector, gguf.with_name("mmproj-f32.gguf")))
    artifact = added(registry, gguf)
    with projector.open("ab") as file:
        file.write(b"\0" * 64)
    assert verify(registry, artifact).state == "changed"
    projector.unlink()
    result = verify(registry, artifact)
    assert (result.state, result.problem) == ("changed", f"{projector} is gone; `mlxr models scan` goes on without it")
    assert now(registry, gguf).status == "ok", "the model itself is there"


def test_what_was_said_of_a_misfitting_projector_is_no_damage(registry: Registry, gguf: Path) -> None:
    gguf.with_name("mmproj-f32.gguf").write_bytes(gemma(128))
    artifact = added(registry, gguf)
    assert artifact.facts.warnings
    assert verify(registry, artifact).state == "ok"


def test_one_that_is_stopped_records_nothing(registry: Registry, gguf: Path) -> None:
    artifact = register_path(registry, gguf, name="m").artifacts[0]
    with pytest.raises(HashingStoppedError):
        verify(registry, artifact, should_stop=lambda: True)
    (now,) = registry.models.get("m").artifacts
    assert (now.status, now.sha256) == ("ok", artifact.sha256)
