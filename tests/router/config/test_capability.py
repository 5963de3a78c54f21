"""Where the socket of this user's programs is, and the token that they are known by."""

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.config.capability import AUTO, Capability, is_private_folder, read_token, socket_path
from router.config.paths import Paths
from router.config.server import MAX_SOCKET_PATH_CHARS


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The system's folder for temporary files, with a path as short as such a folder has."""
    with tempfile.TemporaryDirectory(prefix="mlxr-") as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        yield Path(folder)


def test_the_socket_lies_in_a_folder_of_the_users_own() -> None:
    home = Path("/tmp") / f"mlxr-test-{os.getpid()}"
    paths = Paths.under(home)
    try:
        found = socket_path(AUTO, paths)
        assert found == paths.runtime_dir / "mlxr.sock"
        assert mode_of(found.parent) == 0o700
    finally:
        paths.runtime_dir.rmdir()
        home.rmdir()


def test_a_path_that_is_too_long_for_a_socket_has_a_short_one_instead(tmp_path: Path, temporary: Path) -> None:
    paths = Paths.under(tmp_path / ("a" * 60) / ("b" * 60))
    found = socket_path(AUTO, paths)
    assert found is not None
    assert found.is_relative_to(temporary)
    assert len(str(found)) <= MAX_SOCKET_PATH_CHARS
    assert mode_of(found.parent) == 0o700
    assert found != socket_path(AUTO, Paths.under(tmp_path / ("a" * 60) / ("c" * 60)))


@pytest.mark.usefixtures("temporary")
def test_a_folder_that_somebody_could_have_laid_there_is_not_used(tmp_path: Path) -> None:
    paths = Paths.under(tmp_path / ("a" * 60) / ("b" * 60))
    found = socket_path(AUTO, paths)
    assert found is not None
    found.parent.rmdir()
    found.parent.symlink_to(tmp_path)
    assert socket_path(AUTO, paths) is None


def test_a_folder_that_others_could_enter_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    assert is_private_folder(folder)
    assert mode_of(folder) == 0o700
    (folder / "file").touch()
    assert not is_private_folder(folder / "file")


def test_what_the_config_says_counts_to_the_letter(tmp_path: Path) -> None:
    paths = Paths.under(tmp_path)
    assert socket_path("/tmp/s.sock", paths) == Path("/tmp/s.sock")
    assert socket_path(None, paths) is None


def test_the_token_is_its_users_alone_new_each_time_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "run" / "mlxr.token"
    with Capability(path) as one:
        assert mode_of(path) == 0o600
        token = read_token(path)
        assert token is not None
        assert len(token) >= 43
        assert one.opens(token.encode())
        assert not one.opens(token[:-1].encode())
        assert not one.opens(b"")
    assert read_token(path) is None
    path.write_text("of a server that was killed")
    path.chmod(0o644)
    with Capability(path):
        assert mode_of(path) == 0o600
        assert read_token(path) not in {token, "of a server that was killed"}


def test_a_server_that_ends_leaves_the_token_of_another(tmp_path: Path) -> None:
    path = tmp_path / "mlxr.token"
    with Capability(path):
        path.write_text("of the next server")
    assert path.read_text() == "of the next server"
