"""Models made of others and of files: the same bytes, a name and settings of their own, and nothing lost."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.catalogue import FileHash, Model
from registry.checksums.hashing import hash_artifact, pending_hashes
from registry.creating import models
from registry.creating.models import create_from_files, create_from_model
from registry.errors import (
    ArtifactError,
    InvalidModelNameError,
    InvalidSettingError,
    ModelExistsError,
    ModelNotFoundError,
    PullDiskFullError,
)
from registry.removing.removal import remove_model
from registry.scan import ScanRoot, register_path, scan
from registry.settings import ModelSettings, set_settings
from registry.store import Registry
from tests.registry.gguf_builder import Tensor, build, llama_metadata
from tests.registry.mlx_builder import CONFIG, TENSORS, safetensors
from tests.registry.scan.test_pairing import gemma

MODEL = build(llama_metadata(), [Tensor()])


class Bench:
    """A catalogue with a base model that lies outside mlxr's own folder."""

    def __init__(self, root: Path) -> None:
        self.models_dir = root / "models"
        self.registry = Registry(root / "registry.sqlite3")
        self.base = root / "elsewhere" / "base-Q4_0.gguf"
        self.base.parent.mkdir()
        self.base.write_bytes(MODEL)
        register_path(self.registry, self.base, name="base")
        self.mlx = root / "elsewhere" / "base-mlx"
        self.mlx.mkdir()
        (self.mlx / "config.json").write_text(json.dumps(CONFIG))
        (self.mlx / "model.safetensors").write_bytes(safetensors(TENSORS))
        (self.mlx / "tokenizer.json").write_text("{}")

    def make(self, name: str, source: str = "base", **settings: object) -> Model:
        return create_from_model(self.registry, self.models_dir, name, source, settings)

    def files(self) -> set[str]:
        return {path.relative_to(self.models_dir).as_posix() for path in self.models_dir.rglob("*") if path.is_file()}

    def scan(self) -> None:
        scan(self.registry, [ScanRoot(path=self.models_dir, is_owned=True)])

    def hash_all(self) -> None:
        for task in pending_hashes(self.registry):
            hash_artifact(self.registry, task)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    with made.registry:
        yield made


def test_what_is_made_shares_the_bytes_and_has_settings_of_its_own(bench: Bench) -> None:
    bench.registry.models.change_settings("base", {"temperature": 0.5, "top_k": 40, "engine": "llamacpp"})
    made = bench.make("mario:latest", system="You are Mario.", temperature=0.9)
    assert made.settings == ModelSettings(temperature=0.9, top_k=40, system="You are Mario.")
    assert made.engine == "llamacpp"
    assert made.artifacts[0].is_owned
    assert Path(made.artifacts[0].path).samefile(bench.base)
    assert bench.registry.models.get("base").settings == ModelSettings(temperature=0.5, top_k=40)
    assert bench.files() == {"made/_/mario/latest/gguf/mario.gguf"}


def test_both_forms_are_taken_along(bench: Bench) -> None:
    register_path(bench.registry, bench.mlx, name="base")
    made = bench.make("me/mario:x")
    assert made.engines == ("llamacpp", "mlx")
    bench.scan()
    assert bench.registry.models.get("me/mario:x") == made


def test_equal_bytes_do_not_make_them_one(bench: Bench) -> None:
    bench.make("mario:latest", system="You are Mario.")
    bench.hash_all()
    bench.scan()
    assert [model.name for model in bench.registry.models.list()] == ["base", "mario:latest"]
    assert len({model.artifacts[0].sha256 for model in bench.registry.models.list()}) == 1
    other = bench.base.with_name("other.gguf")
    other.write_bytes(MODEL)
    register_path(bench.registry, other)
    bench.hash_all()
    assert bench.registry.models.get("mario:latest").artifacts[0].copies == ()


def test_known_checksums_are_not_computed_again(bench: Bench) -> None:
    bench.hash_all()
    made = create_from_model(bench.registry, bench.models_dir, "mario:latest", "base")
    known = bench.registry.files.hashes(made.artifacts[0].files)
    assert [item.is_computed for item in known.values()] == [True]
    assert isinstance(next(iter(known.values())), FileHash)
    assert made.artifacts[0].sha256 == bench.registry.models.get("base").artifacts[0].sha256


def test_either_can_be_removed_without_the_other(bench: Bench) -> None:
    made = bench.make("mario:latest")
    second = bench.make("luigi:latest", "mario:latest")
    remove_model(bench.registry, "mario:latest")
    bench.base.unlink()
    assert not Path(made.artifacts[0].path).exists()
    assert Path(second.artifacts[0].path).read_bytes() == MODEL
    bench.scan()
    assert bench.registry.models.get("luigi:latest").engines == ("llamacpp",)


def test_making_it_again_replaces_it_with_all_of_its_settings(bench: Bench) -> None:
    register_path(bench.registry, bench.mlx, name="base")
    bench.make("mario:latest", system="You are Mario.", seed=1)
    other = bench.base.with_name("other.gguf")
    other.write_bytes(MODEL + bytes(32))
    register_path(bench.registry, other, name="other")
    made = bench.make("mario:latest", "other", top_k=3)
    assert made.settings == ModelSettings(top_k=3)
    assert bench.files() == {"made/_/mario/latest/gguf/mario.gguf"}
    assert Path(made.artifacts[0].path).read_bytes() == MODEL + bytes(32)


def test_a_model_made_of_itself_only_gets_the_settings(bench: Bench) -> None:
    assert bench.make("base", system="Be brief.").settings == ModelSettings(system="Be brief.")
    assert bench.registry.models.get("base").artifacts[0].path == str(bench.base)


def test_nothing_that_was_not_made_is_overwritten(bench: Bench) -> None:
    other = bench.base.with_name("other.gguf")
    other.write_bytes(MODEL)
    register_path(bench.registry, other, name="other")
    bench.registry.aliases.set("another", "other")
    with pytest.raises(ModelExistsError, match="files of its own"):
        bench.make("other")
    with pytest.raises(ModelExistsError, match="alias"):
        bench.make("another")


def test_mistakes_leave_nothing_behind(bench: Bench) -> None:
    for name in ("../x", "X", "a/b/c", "", "x" * 200, "x:.."):
        with pytest.raises(InvalidModelNameError):
            bench.make(name)
    with pytest.raises(ModelNotFoundError):
        bench.make("mario", "nobody")
    with pytest.raises(InvalidSettingError):
        bench.make("mario", temperature=99)
    assert bench.files() == set()
    assert [model.name for model in bench.registry.models.list()] == ["base"]


@pytest.mark.parametrize("name", ["x:.", "x:.hidden", "x:_", "x:-", "x"])
def test_odd_tags_have_folders_that_a_scan_sees(bench: Bench, name: str) -> None:
    made = bench.make(name)
    bench.scan()
    assert bench.registry.models.get(name) == made
    assert all("/." not in file for file in bench.files())


def test_a_source_whose_file_is_gone_is_told(bench: Bench) -> None:
    bench.base.unlink()
    with pytest.raises(ArtifactError, match="gone"):
        bench.make("mario:latest")


def test_a_disk_without_room_for_copies_is_told_before(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "free_bytes", lambda _: 1000)
    assert bench.make("linked:latest")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PullDiskFullError, match="reserve"):
        bench.make("copied:latest")


def test_a_file_becomes_a_model(bench: Bench, tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(MODEL)
    sha256 = hashlib.sha256(MODEL).hexdigest()
    made = create_from_files(
        bench.registry, bench.models_dir, "mine:latest", [("a.gguf", blob)], {"top_k": 5}, sha256s={blob: sha256}
    )
    assert made.artifacts[0].sha256 == sha256
    assert not [task for task in pending_hashes(bench.registry) if task.artifact_id == made.artifacts[0].id]
    assert made.engines == ("llamacpp",)
    assert set_settings(made.settings) == {"top_k": 5}


def test_the_files_of_a_folder_become_a_model(bench: Bench) -> None:
    files = [(path.name, path) for path in bench.mlx.iterdir()]
    made = create_from_files(bench.registry, bench.models_dir, "mine:latest", files)
    assert made.engines == ("mlx",)


@pytest.mark.parametrize("data", [b"", b"GGUF", MODEL[:-40], b"\0" * 5000])
def test_files_that_are_no_model_are_refused_and_leave_nothing(bench: Bench, tmp_path: Path, data: bytes) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(data)
    with pytest.raises(ArtifactError):
        create_from_files(bench.registry, bench.models_dir, "mine:latest", [("a.gguf", blob)])
    with pytest.raises(ArtifactError):
        create_from_files(bench.registry, bench.models_dir, "mine:latest", [("a.gguf", blob), ("b.gguf", blob)])
    assert bench.files() == set()
    assert bench.registry.models.find_exactly("mine:latest") is None


def projector(bench: Bench, width: int) -> Path:
    path = bench.base.with_name(f"eyes-{width}.bin")
    path.write_bytes(gemma(width))
    return path


def test_a_projector_among_the_files_belongs_to_the_model(bench: Bench) -> None:
    files = [("b.gguf", projector(bench, 64)), ("a.gguf", bench.base)]
    (artifact,) = create_from_files(bench.registry, bench.models_dir, "seeing", files).artifacts
    assert artifact.text_only_reason is None
    assert bench.files() == {"made/_/seeing/@/gguf/seeing.gguf", "made/_/seeing/@/gguf/mmproj-seeing.gguf"}
    (again,) = bench.make("other", "seeing").artifacts
    assert again.text_only_reason is None
    bench.scan()
    assert bench.registry.models.get("seeing").artifacts[0].text_only_reason is None


def test_a_projector_of_another_model_is_refused(bench: Bench) -> None:
    files = [("a.gguf", bench.base), ("b.gguf", projector(bench, 128))]
    with pytest.raises(ArtifactError, match="the projector does not fit: its rows are 128 wide"):
        create_from_files(bench.registry, bench.models_dir, "seeing", files)
    assert bench.files() == set()
    with pytest.raises(ArtifactError, match="several vision projectors"):
        create_from_files(bench.registry, bench.models_dir, "seeing", [*files, ("c.gguf", projector(bench, 64))])
