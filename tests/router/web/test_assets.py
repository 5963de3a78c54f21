"""The page's files are found by their names alone."""

import gzip
import os
from pathlib import Path

import pytest

from router.web.assets import Assets


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "static" / "lib").mkdir(parents=True)
    (tmp_path / "vendor" / "fonts").mkdir(parents=True)
    (tmp_path / "static" / "app.js").write_text("// a file of ours\n" * 50)
    (tmp_path / "static" / "lib" / "x.js").write_text("x")
    (tmp_path / "vendor" / "preact.js").write_text("preact")
    (tmp_path / "vendor" / "fonts" / "A_b-C.woff2").write_bytes(b"font" * 100)
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "assets.py").write_text("secret")
    return tmp_path


def test_files_of_both_folders_are_found_with_type_and_etag(folder: Path) -> None:
    assets = Assets(folder)
    script = assets.find("app.js")
    assert script is not None
    assert script.media_type == b"text/javascript; charset=utf-8"
    assert script.gzipped is not None
    assert gzip.decompress(script.gzipped) == script.body
    font = assets.find("vendor/fonts/A_b-C.woff2")
    assert font is not None
    assert font.gzipped is None
    assert font.etag != script.etag


@pytest.mark.parametrize(
    "name",
    [
        "", "/", "lib", "lib/", "../package.json", "package.json", "../assets.py", "lib/../../assets.py", "assets.py",
        "vendor/../package.json", "vendor/../../app.js", "app.js/", "app.js/x.js", "lib/x.js\n", "lib\\x.js",
        "lib//x.js",
        "missing.js", "vendor", "..", ".js", "a/b/c/d/e.js", "app.js\0", "static/app.js",
        "%2e%2e/x.js",
    ],
)  # fmt: skip
def test_no_name_leads_out_of_them(folder: Path, name: str) -> None:
    assert Assets(folder).find(name) is None


def test_a_file_is_kept_until_it_changes(folder: Path) -> None:
    assets = Assets(folder)
    first = assets.find("lib/x.js")
    assert assets.find("lib/x.js") is first
    (folder / "static" / "lib" / "x.js").write_text("changed")
    os.utime(folder / "static" / "lib" / "x.js", ns=(1, 1))
    second = assets.find("lib/x.js")
    assert first is not None
    assert second is not None
    assert (second.body, second.etag != first.etag) == (b"changed", True)


def test_it_is_known_whether_the_libraries_were_built(folder: Path) -> None:
    assets = Assets(folder)
    assert assets.has_libraries
    (folder / "vendor" / "preact.js").unlink()
    assert not assets.has_libraries
