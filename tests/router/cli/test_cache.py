"""`mlxr cache`: what is saved of prompts, by model and key, and how it is deleted."""

import json
from pathlib import Path

from backends.cache_files import ExportedCache, write_cache
from backends.saved_caches.folder import SUFFIX
from registry.store import Registry
from router.config.paths import Paths
from router.models.load_spec import cache_key
from tests.registry.catalogue_builder import make_draft
from tests.router.cli.conftest import Mlxr


def saved(folder: Path, name: str, num_tokens: int, owner: str | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    cache = ExportedCache([7] * num_tokens, 5, iter([memoryview(b"state")]))
    write_cache(folder / f"{name}{SUFFIX}", "llamacpp 9.9|whatever", cache, owner)


def test_caches_are_listed_with_their_models_and_cleared(home: Path, mlxr: Mlxr) -> None:
    paths = Paths.under(home)
    paths.ensure_folders()
    with Registry(paths.registry_db) as registry:
        registry.artifacts.add(make_draft("/m/fox.gguf", name="fox"))
        (artifact,) = registry.models.get("fox").artifacts
    root = paths.saved_caches_dir
    assert mlxr("cache").out.startswith("0 caches, 0 B of at most ")
    saved(root / cache_key("llamacpp", artifact.path, artifact.version), "a", 3000, owner="key-1")
    saved(root / "of-files-that-have-changed", "b", 70)
    listed = json.loads(mlxr("cache", "list", "--json").out)
    assert [(each["model"], each["engine"], each["num_tokens"], each["key_id"]) for each in listed["caches"]] == [
        (None, "llamacpp 9.9", 70, None),
        ("fox", "llamacpp 9.9", 3000, "key-1"),
    ]
    assert listed["num_bytes"] == sum(each["num_bytes"] for each in listed["caches"])
    shown = mlxr("cache").out
    assert "fox" in shown
    assert "2 caches" in shown
    assert mlxr("cache", "clear").out.startswith("2 caches deleted, ")
    assert list(root.iterdir()) == []
    assert json.loads(mlxr("cache", "clear", "--json").out) == {"num_caches": 0, "num_bytes": 0}
