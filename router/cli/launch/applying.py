"""Writes what a plan changes, and takes it back: backups, and what is known of each file that was written.

What was there before a client's first launch is kept until it is undone, however often it is launched. A file is only
put back while it is as it was written: what somebody changed since is theirs. Backups may hold keys, so all of it is
readable by its user alone.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from registry.disk import make_private
from router.cli.launch.plan import Change
from router.cli.launch.texts.errors import TextError
from router.cli.terminal.context import CommandError
from router.config.edit import write_atomically

_RECORD: Final = "record.json"
_KEPT: Final = ".before-undo"


class WrittenFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was written, and what was there before.

    Attributes:
        path: Where it lies, links followed.
        before: Name of its backup in the record's folder; None = there was no such file.
        after_sha256: Of what was written last.
        is_theirs: Whether it was changed by others between two launches, and so holds more than its backup and ours.
        folders: Those that were made for it, the outermost first.
    """

    path: str
    before: str | None
    after_sha256: str
    is_theirs: bool = False
    folders: tuple[str, ...] = ()


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What was done for one client.

    Attributes:
        model: That it was launched with last.
        key: The name of the API key that was made for it; None = none was.
        secret: That key.
        aliases: Other names that were given to models for it: name and model.
    """

    client: str
    model: str
    files: tuple[WrittenFile, ...] = ()
    key: str | None = None
    secret: str | None = None
    aliases: tuple[tuple[str, str], ...] = ()


class Records:
    """The records of one data folder, a folder for each client.

    Args:
        folder: Made when the first is kept.
        home: Nothing outside of it, and of `folder`, is ever written.
    """

    def __init__(self, folder: Path, home: Path) -> None:
        self._folder = folder
        self._home = home

    def folder_of(self, client: str) -> Path:
        """Return where a client's record and its own files are."""
        return self._folder / client

    def read(self, client: str) -> Record | None:
        """Return what was done for a client, or None.

        Raises:
            CommandError: The record is damaged.
        """
        path = self.folder_of(client) / _RECORD
        try:
            return msgspec.json.decode(path.read_bytes(), type=Record)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as exc:
            raise CommandError(
                f"{path} is damaged ({exc}); the backups beside it are whole: put them back by hand, then delete it."
            ) from exc

    def keep(self, record: Record) -> None:
        """Write a record."""
        make_private(self.folder_of(record.client))
        write_atomically(self.folder_of(record.client) / _RECORD, msgspec.json.format(msgspec.json.encode(record)))

    def write(self, record: Record, changes: Sequence[Change]) -> Record:
        """Write files, all or none of them where one cannot be; return the record with them.

        The record is written before them: whatever happens in between, it knows what was there.

        Raises:
            CommandError: One cannot be read or changed, or must not be.
            OSError: The disk fails.
        """
        targets = [(change, self._target(change.path)) for change in changes]
        contents = [(target, _content(change, target)) for change, target in targets]
        for target, data in contents:
            record = self._noted(record, target, data)
        self.keep(record)
        for target, data in contents:
            if _read(target) != data:
                make_private(target.parent)
                write_atomically(target, data)
        return record

    def undo(self, client: str, *, is_forced: bool) -> Record:
        """Put back what was there before a client's first launch; return what was done for it.

        Args:
            is_forced: Whether files that were changed since are put back as well; they are kept beside, as
                `NAME.before-undo`.

        Raises:
            CommandError: Nothing was done for it, or a file was changed since; then nothing is put back.
        """
        record = self.read(client)
        if record is None:
            raise CommandError(f"mlxr has written nothing for {client}: there is nothing to undo.")
        changed = [file for file in record.files if not self._is_ours(client, file)]
        if changed and not is_forced:
            raise CommandError(self._refusal(client, changed))
        for file in record.files:
            self._restore(client, file, keeps_present=file in changed)
        self._forget(record)
        return record

    def _noted(self, record: Record, target: Path, data: bytes) -> Record:
        """Add a file that is about to be written, with a backup of what is there if none is kept yet."""
        present, after = _read(target), hashlib.sha256(data).hexdigest()
        known = next((file for file in record.files if file.path == str(target)), None)
        if known is None:
            before = None if present is None else self._backup(record.client, target, present)
            folders = tuple(str(folder) for folder in reversed(target.parents) if not folder.exists())
            known = WrittenFile(path=str(target), before=before, after_sha256=after, folders=folders)
        else:
            is_theirs = not self._is_ours(record.client, known)
            known = msgspec.structs.replace(known, after_sha256=after, is_theirs=is_theirs)
        others = tuple(file for file in record.files if file.path != known.path)
        return msgspec.structs.replace(record, files=(*others, known))

    def _backup(self, client: str, target: Path, data: bytes) -> str:
        name = f"{hashlib.sha256(str(target).encode()).hexdigest()[:8]}-{target.name}"
        make_private(self.folder_of(client))
        write_atomically(self.folder_of(client) / name, data)
        return name

    def _before(self, client: str, file: WrittenFile) -> bytes | None:
        return None if file.before is None else (self.folder_of(client) / file.before).read_bytes()

    def _is_ours(self, client: str, file: WrittenFile) -> bool:
        """Tell whether nobody has changed a file since: it is as it was written, or as it was before that."""
        present = _read(Path(file.path))
        if present == self._before(client, file):
            return True
        is_written = present is not None and hashlib.sha256(present).hexdigest() == file.after_sha256
        return is_written and not file.is_theirs

    def _refusal(self, client: str, changed: Iterable[WrittenFile]) -> str:
        words = []
        for file in changed:
            backup = (
                "it was not there before"
                if file.before is None
                else f"its backup is {self.folder_of(client)}/{file.before}"
            )
            words.append(f"{file.path} was changed since it was written ({backup})")
        return (
            f"{'; '.join(words)}. Nothing is undone: take what is mlxr's out by hand, or `mlxr launch {client} --undo "
            f"--force` puts back what was there and keeps the changed file beside it as NAME{_KEPT}."
        )

    def _restore(self, client: str, file: WrittenFile, *, keeps_present: bool) -> None:
        path, before, present = Path(file.path), self._before(client, file), _read(Path(file.path))
        if keeps_present and present is not None:
            write_atomically(path.with_name(path.name + _KEPT), present)
        if before is not None:
            make_private(path.parent)
            if present != before:
                write_atomically(path, before)
            return
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others have put something there
            for folder in reversed(file.folders):
                Path(folder).rmdir()

    def _forget(self, record: Record) -> None:
        folder = self.folder_of(record.client)
        for name in (_RECORD, *(file.before for file in record.files if file.before is not None)):
            (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
            self._folder.rmdir()

    def _target(self, path: Path) -> Path:
        """Return where a path leads, if that may be written.

        Raises:
            CommandError: It leads out of the user's home, or is no file, or not the user's.
        """
        target = path.resolve()
        home, own = self._home.resolve(), self._folder.resolve()
        leads = "" if target == path else f" leads to {target}, which"
        if not target.is_relative_to(home) and not target.is_relative_to(own):
            raise CommandError(f"{path}{leads} is outside of your home and is left alone; {_BY_HAND}.")
        if not target.exists():
            return target
        info = target.stat()
        if not target.is_file():
            raise CommandError(f"{path} is no file; move it away.")
        if info.st_uid != home.stat().st_uid:
            raise CommandError(f"{path}{leads} belongs to another user and is left alone; {_BY_HAND}.")
        if not info.st_mode & _USER_WRITES:
            raise CommandError(f"{path}{leads} is read-only and is left alone; `chmod u+w` it, or {_BY_HAND}.")
        return target


_USER_WRITES: Final = 0o200
_BY_HAND: Final = "`--print` shows what belongs in it"


def _content(change: Change, target: Path) -> bytes:
    try:
        return change.content(_read(target))
    except TextError as exc:
        raise CommandError(f"{target} is left as it is: {exc}. Mend it, or change it by hand; {_BY_HAND}.") from exc


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
