"""Files are written and put back to the byte; what somebody changed meanwhile stays theirs."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from router.cli.launch.applying import Record, Records
from router.cli.launch.plan import Change, FileChange, OwnFile
from router.cli.launch.texts.edits import Put
from router.cli.terminal.context import CommandError
from router.config.edit import write_atomically

HIS = b'{\r\n  // mine\r\n  "a": 1\r\n}\r\n'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "ann"
    home.mkdir()
    return home


@pytest.fixture
def records(tmp_path: Path, home: Path) -> Records:
    return Records(tmp_path / "data" / "launch", home)


def change(path: Path, value: str = "m") -> FileChange:
    return FileChange(path, "jsonc", (Put(("model",), value),))


def write(records: Records, *changes: Change) -> Record:
    record = records.read("zed") or Record(client="zed", model="m")
    return records.write(record, changes)


def tree(*folders: Path) -> dict[str, bytes | None]:
    found = sorted(path for folder in folders for path in folder.rglob("*"))
    return {str(path): path.read_bytes() if path.is_file() else None for path in found}


def test_all_is_as_it_was_before_the_first_launch(records: Records, home: Path) -> None:
    (home / "own").mkdir()
    (home / "own" / "settings.json").write_bytes(HIS)
    (home / "own" / "settings.json").chmod(0o640)
    before = tree(home)
    own = OwnFile(records.folder_of("zed") / "models.json", b"[]")
    for value in ("m", "other"):
        write(records, own, change(home / "own" / "settings.json", value), change(home / "new" / "deep" / "x.json"))
    assert (
        home / "own" / "settings.json"
    ).read_bytes() == b'{\r\n  // mine\r\n  "a": 1,\r\n  "model": "other"\r\n}\r\n'
    assert (home / "new" / "deep" / "x.json").stat().st_mode & 0o777 == 0o600
    assert (home / "new").stat().st_mode & 0o777 == 0o700
    records.undo("zed", is_forced=False)
    assert tree(home) == before
    assert (home / "own" / "settings.json").stat().st_mode & 0o777 == 0o640
    assert records.read("zed") is None
    assert not records.folder_of("zed").exists()
    with pytest.raises(CommandError, match="nothing to undo"):
        records.undo("zed", is_forced=False)


def test_nothing_is_written_twice(records: Records, home: Path) -> None:
    write(records, change(home / "x.json"))
    inode = (home / "x.json").stat().st_ino
    write(records, change(home / "x.json"))
    assert (home / "x.json").stat().st_ino == inode


@pytest.mark.parametrize("is_launched_again", [False, True])
def test_a_file_that_was_changed_by_hand_is_not_put_back(records: Records, home: Path, is_launched_again: bool) -> None:  # noqa: FBT001
    path, other = home / "x.json", home / "y.json"
    path.write_bytes(HIS)
    write(records, change(path), change(other))
    path.write_bytes(path.read_bytes().replace(b"mine", b"mine, changed"))
    if is_launched_again:
        write(records, change(path, "n"), change(other))
    theirs = path.read_bytes()
    with pytest.raises(
        CommandError, match=r"x\.json was changed since it was written \(its backup is .*Nothing is undone"
    ) as caught:
        records.undo("zed", is_forced=False)
    assert "`mlxr launch zed --undo --force`" in str(caught.value)
    assert (path.read_bytes(), other.exists()) == (theirs, True)
    records.undo("zed", is_forced=True)
    assert (path.read_bytes(), other.exists()) == (HIS, False)
    assert (home / "x.json.before-undo").read_bytes() == theirs


def test_a_file_that_was_put_back_by_hand_or_is_gone_needs_no_force(records: Records, home: Path) -> None:
    path, other = home / "x.json", home / "y.json"
    path.write_bytes(HIS)
    write(records, change(path), change(other))
    path.write_bytes(HIS)
    other.unlink()
    records.undo("zed", is_forced=False)
    assert tree(home) == {str(path): HIS}


def test_a_made_folder_that_others_use_stays(records: Records, home: Path) -> None:
    write(records, change(home / "new" / "x.json"))
    (home / "new" / "theirs").write_text("t")
    records.undo("zed", is_forced=False)
    assert tree(home) == {str(home / "new"): None, str(home / "new" / "theirs"): b"t"}


def test_a_link_stays_one_and_what_it_leads_to_is_changed(records: Records, home: Path) -> None:
    (home / "dotfiles").mkdir()
    (home / "dotfiles" / "x.json").write_bytes(HIS)
    (home / "x.json").symlink_to(home / "dotfiles" / "x.json")
    write(records, change(home / "x.json"))
    assert (home / "x.json").is_symlink()
    assert b'"model": "m"' in (home / "dotfiles" / "x.json").read_bytes()
    records.undo("zed", is_forced=False)
    assert (home / "dotfiles" / "x.json").read_bytes() == HIS


def refused(records: Records, *changes: Change, says: str) -> None:
    with pytest.raises(CommandError, match=says):
        write(records, *changes)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"a": ', r"x\.json is left as it is: it is not JSON \(line 1: .*`--print` shows what belongs in it"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8 text"),
        (b"[1]", "has to be an object"),
    ],
)
def test_a_file_that_cannot_be_read_stops_all(records: Records, home: Path, data: bytes, says: str) -> None:
    (home / "x.json").write_bytes(data)
    refused(records, change(home / "new.json"), change(home / "x.json"), says=says)
    assert tree(home) == {str(home / "x.json"): data}
    assert records.read("zed") is None


def test_a_byte_order_mark_stays(records: Records, home: Path) -> None:
    (home / "x.json").write_bytes(b"\xef\xbb\xbf" + HIS)
    write(records, change(home / "x.json"))
    assert (home / "x.json").read_bytes().startswith(b"\xef\xbb\xbf{\r\n  // mine")


def test_what_may_not_be_written_is_left_alone(records: Records, home: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_bytes(HIS)
    (home / "link.json").symlink_to(outside)
    (home / "locked.json").write_bytes(HIS)
    (home / "locked.json").chmod(0o444)
    (home / "folder.json").mkdir()
    refused(
        records, change(home / "link.json"), says=r"link\.json leads to .*outside\.json, which is outside of your home"
    )
    refused(records, change(tmp_path / "etc" / "x.json"), says=r"x\.json is outside of your home and is left alone")
    refused(records, change(home / ".." / "x.json"), says="outside of your home")
    refused(records, change(home / "locked.json"), says="read-only and is left alone; `chmod u")
    refused(records, change(home / "folder.json"), says="is no file")
    assert (outside.read_bytes(), (home / "locked.json").read_bytes()) == (HIS, HIS)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_left_alone(records: Records, home: Path) -> None:
    (home / "x.json").write_bytes(HIS)
    os.chown(home / "x.json", 12345, 12345)
    refused(records, change(home / "x.json"), says="belongs to another user")


def test_a_launch_that_was_killed_before_it_wrote_can_be_undone(
    records: Records, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "x.json").write_bytes(HIS)
    names = list[str]()

    def dies(path: Path, data: bytes) -> None:
        if path.name == "y.json":
            raise KeyboardInterrupt
        names.append(path.name)
        write_atomically(path, data)

    monkeypatch.setattr("router.cli.launch.applying.write_atomically", dies)
    with pytest.raises(KeyboardInterrupt):
        write(records, change(home / "x.json"), change(home / "y.json"))
    monkeypatch.undo()
    assert names[-2:] == ["record.json", "x.json"]
    records.undo("zed", is_forced=False)
    assert tree(home) == {str(home / "x.json"): HIS}


def test_a_damaged_record_says_where_the_backups_are(records: Records, home: Path) -> None:
    write(records, change(home / "x.json"))
    (records.folder_of("zed") / "record.json").write_text("{")
    with pytest.raises(CommandError, match=r"is damaged .* the backups beside it are whole"):
        records.undo("zed", is_forced=False)


def written(records: Records) -> Sequence[str]:
    return [path.name for path in records.folder_of("zed").iterdir()]


def test_backups_are_for_their_user_alone(records: Records, home: Path) -> None:
    (home / "x.json").write_bytes(HIS)
    (home / "x.json").chmod(0o644)
    write(records, change(home / "x.json"))
    assert len(written(records)) == 2
    for path in records.folder_of("zed").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert records.folder_of("zed").stat().st_mode & 0o777 == 0o700
