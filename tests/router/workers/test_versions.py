"""What is said of workers of another version."""

from pathlib import Path

from backends.version import VERSION
from router.workers.versions import clash_of, installed_version


def test_only_another_version_is_a_clash() -> None:
    assert clash_of(VERSION) is None
    assert clash_of(None) is None
    assert "`mlxr service restart`" in str(clash_of("99.0"))
    assert str(clash_of("")).startswith("an earlier mlxr was installed")


def test_the_installed_version_is_that_of_the_file(tmp_path: Path) -> None:
    assert installed_version() == VERSION
    (tmp_path / "version.py").write_text('"""Newer."""\n\nVERSION = "99.0"\n')
    assert installed_version(tmp_path / "version.py") == "99.0"
    (tmp_path / "version.py").write_text("")
    assert installed_version(tmp_path / "version.py") is None
    assert installed_version(tmp_path / "none.py") is None
