"""Imports go downwards only: registry < backends < router, and some libraries in one room only."""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "registry": {"backends", "router", "litestar", "httpx"},
    "backends": {"registry", "router", "litestar", "httpx", "sqlite3"},
    "router": set[str](),
}
HTTPX_PACKAGES = ("registry/hub/", "registry/pull/")
"""Pulls speak HTTP to a hub; the rest of the registry must not even import the library."""

OWNED_LIBRARIES = {
    "llama_cpp": "backends/llamacpp",
    "mlx": "backends/mlx",
    "mlx_lm": "backends/mlx",
    "PIL": "backends/images",
}


@functools.cache
def imports_of(file: Path) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.add(node.module.partition(".")[0])
    return frozenset(names)


def source_files(package: str) -> list[Path]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    return files


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_package_imports_one_above_it(package: str) -> None:
    upwards = [
        (str(file.relative_to(ROOT)), name)
        for file in source_files(package)
        for name in imports_of(file)
        if name in FORBIDDEN[package]
        and not (name == "httpx" and file.relative_to(ROOT).as_posix().startswith(HTTPX_PACKAGES))
    ]
    assert upwards == []


@pytest.mark.parametrize("library", OWNED_LIBRARIES)
def test_an_engines_library_and_what_decodes_images_is_imported_in_its_own_room_only(library: str) -> None:
    room = OWNED_LIBRARIES[library]
    importers = {
        file.relative_to(ROOT).as_posix()
        for package in FORBIDDEN
        for file in source_files(package)
        if library in imports_of(file)
    }
    assert importers
    assert [file for file in importers if not file.startswith(f"{room}/")] == []


def test_the_version_is_the_same_in_the_code_and_in_the_package() -> None:
    import tomllib

    from router.version import VERSION

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
