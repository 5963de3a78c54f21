"""One verified file into its part's stage, however it gets there: found, linked or fetched; one at a time per blob.

Not here: the transfer itself (`transfer.py`) and the last step into the models folder (`publishing.py`).
"""

import dataclasses
from functools import partial as bind
from pathlib import Path
from typing import Literal

from registry.disk import link_or_copy, make_folder, translate_os_errors
from registry.files import open_regular
from registry.hub.web import Web
from registry.pull.events import FileDone, FileStarted, Listener, Waiting
from registry.pull.folder import PullFolder, blob_of, fingerprint
from registry.pull.inventory import known_files, note_verified
from registry.pull.partial import FileHasher, PartialFile, remove_partial
from registry.pull.progress import ProgressMeter
from registry.pull.transfer import Transfer, TransferSettings, TransferWatch, segment_bytes_for
from registry.pull_record import PlannedFile, PlannedPart
from registry.store import Registry
from registry.threads import in_thread, locked, with_registry

Origin = Literal["fetched", "present", "linked"]


@dataclasses.dataclass(frozen=True)
class Fetcher:
    """Gets the files of one pull.

    Attributes:
        tell: Takes the events; returns at once.
    """

    web: Web
    folder: PullFolder
    database: Path
    settings: TransferSettings
    meter: ProgressMeter
    tell: Listener

    async def is_in_place(self, part: PlannedPart) -> bool:
        """Tell whether all files of a part are where they belong, reading those that nobody vouches for."""
        for file in part.files:
            if not await self._is_right(file, self.folder.target(part, file)):
                return False
        for file in part.files:
            self._finish(part, file, "present")
        return True

    async def obtain(self, part: PlannedPart, file: PlannedFile) -> None:
        """Have a file in its part's stage."""
        staged = self.folder.staged(part, file)
        with translate_os_errors(staged.parent):
            await in_thread(bind(make_folder, staged.parent, self.folder.models_dir))
        async with locked(self.folder.blob_lock(file), lambda: self.tell(Waiting(path=file.path))):
            if await self._is_right(file, staged):
                origin: Origin = "present"
            elif await self._link(part, file, staged):
                origin = "linked"
            else:
                await self._fetch(part, file, staged)
                origin = "fetched"
            if origin != "fetched":
                # Of an attempt that ended between its last rename and its tidying up, or is not needed any more.
                await in_thread(bind(remove_partial, self.folder.part_file(file)))
            await in_thread(bind(self._note, file, staged))
        self._finish(part, file, origin)

    def _finish(self, part: PlannedPart, file: PlannedFile, origin: Origin) -> None:
        self.meter.set_present(_key(part, file), file.size_bytes)
        self.tell(FileDone(path=file.path, origin=origin))
        self.tell(self.meter.progress())

    async def _is_right(self, file: PlannedFile, path: Path) -> bool:
        """Tell whether a path has the bytes. They are read when nobody vouches for them and the size is right."""
        info = fingerprint(path)
        if info is None or info[0] != file.size_bytes:
            return False
        if path in await self._known(file):
            return True
        expected = file.sha256 or file.git_sha1
        if expected is None or await self._hash_of(path, file) != expected:
            return False
        await in_thread(bind(self._note, file, path))
        return True

    async def _link(self, part: PlannedPart, file: PlannedFile, staged: Path) -> bool:
        """Take the same bytes from elsewhere on this disk."""
        target = self.folder.target(part, file)
        sources = await self._known(file)
        if target not in sources and await self._is_right(file, target):
            sources.append(target)
        for source in sources:
            if await in_thread(bind(_try_link, source, staged)):
                return True
        return False

    async def _fetch(self, part: PlannedPart, file: PlannedFile, staged: Path) -> None:
        segment_bytes = segment_bytes_for(file, self.settings)
        path = self.folder.part_file(file)
        partial = await in_thread(bind(PartialFile.open, path, file.size_bytes, segment_bytes))
        try:
            watch = TransferWatch(_key(part, file), file, self.meter, self.tell)
            self.meter.set_present(_key(part, file), partial.num_done)
            self.tell(FileStarted(path=file.path, size_bytes=file.size_bytes, done_bytes=partial.num_done))
            await Transfer(self.web, file, partial, self.settings, watch).run()
            await in_thread(bind(partial.finish, staged))
        finally:
            partial.close()

    async def _known(self, file: PlannedFile) -> list[Path]:
        return await with_registry(
            self.database, lambda registry: known_files(registry, blob_of(file), file.size_bytes)
        )

    def _note(self, file: PlannedFile, path: Path) -> None:
        with Registry(self.database) as registry:
            note_verified(registry, blob_of(file), path)

    async def _hash_of(self, path: Path, file: PlannedFile) -> str:
        with open_regular(path) as (fd, info):
            hasher = FileHasher(fd, info.st_size, "git_sha1" if file.git_sha1 is not None else "sha256")
            while hasher.position < file.size_bytes:
                await in_thread(bind(hasher.advance, file.size_bytes))
            return hasher.hexdigest()


def _try_link(source: Path, target: Path) -> bool:
    """Link or copy; the source may vanish at any time, and then it was no source."""
    with translate_os_errors(target):
        target.unlink(missing_ok=True)
        try:
            link_or_copy(source, target)
        except FileNotFoundError:
            return False
    return True


def _key(part: PlannedPart, file: PlannedFile) -> str:
    return f"{part.folder}/{file.path}"
