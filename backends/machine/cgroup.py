"""What a control group of Linux lets its processes have: the memory of a container, a systemd unit, a job.

Source: Linux, Documentation/admin-guide/cgroup-v2.rst ("memory.max", "memory.current", "memory.stat",
"memory.pressure") and cgroup-v1/memory.rst ("memory.limit_in_bytes", "memory.usage_in_bytes"); proc_pid_mountinfo(5);
accounting/psi.rst.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_UNLIMITED_BYTES: Final = 1 << 60
"""v1 says "none" by the largest multiple of a page that a signed number holds."""
_STALL: Final = re.compile(r"^full avg10=([\d.]+)", re.MULTILINE)
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


class GroupMemory(NamedTuple):
    """The memory of the control group that is nearest to its limit.

    Attributes:
        limit_bytes: What its processes may have together.
        used_bytes: What they have, without pages of files, which are dropped when somebody needs the room.
    """

    limit_bytes: int
    used_bytes: int

    @property
    def available_bytes(self) -> int:
        """What is left."""
        return max(0, self.limit_bytes - self.used_bytes)


class _Files(NamedTuple):
    limit: str
    usage: str
    stat_prefix: str


_V1: Final = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
_V2: Final = _Files("memory.max", "memory.current", "")


class ControlGroup:
    """The groups that a process is in, from its own up to the root; found once, read anew each time.

    Args:
        proc: For tests.
    """

    def __init__(self, proc: Path = Path("/proc/self")) -> None:
        self._folders, self._files = _find(proc)

    def memory(self) -> GroupMemory | None:
        """Read the limits; None where there are none. A machine's group counts like the ones in it."""
        found = [memory for folder in self._folders if (memory := self._read(folder)) is not None]
        return min(found, key=lambda memory: memory.available_bytes, default=None)

    def stall_share(self) -> float | None:
        """Return the share of the last 10 s in which all its processes waited for memory; None = v1, or not told."""
        text = _text_of(self._folders[0] / "memory.pressure") if self._folders and self._files is _V2 else None
        return stall_share_of(text)

    def _read(self, folder: Path) -> GroupMemory | None:
        limit, usage = _number_of(folder / self._files.limit), _number_of(folder / self._files.usage)
        if limit is None or usage is None or limit >= _UNLIMITED_BYTES:
            return None
        lines = (line.partition(" ") for line in (_text_of(folder / "memory.stat") or "").splitlines())
        stat = {name: int(value) for name, _, value in lines if value.isdecimal()}
        prefix = self._files.stat_prefix
        file_bytes = stat.get(f"{prefix}active_file", 0) + stat.get(f"{prefix}inactive_file", 0)
        return GroupMemory(limit, max(0, usage - file_bytes))


def stall_share_of(text: str | None) -> float | None:
    """Read `full avg10` of a pressure file, per cent, as a share."""
    found = _STALL.search(text or "")
    return float(found[1]) / 100 if found else None


def _find(proc: Path) -> tuple[tuple[Path, ...], _Files]:
    """Return the folders of a process's groups, its own first, and how their files are called."""
    paths = dict[str, str]()
    for line in (_text_of(proc / "cgroup") or "").splitlines():  # 4:memory:/a/b, or 0::/a/b
        _, controllers, path = line.split(":", 2)
        paths |= dict.fromkeys(controllers.split(","), path)
    for kind, root, mount_point in _mounts(_text_of(proc / "mountinfo") or ""):
        key, files = ("memory", _V1) if kind == "memory" else ("", _V2)
        if key in paths and (kind == "memory" or "memory" not in paths):
            return tuple(_upwards(Path(mount_point), root, paths[key])), files
    return (), _V2


def _mounts(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield kind (`memory` or `cgroup2`), root and place of what could have the memory's files."""
    for line in text.splitlines():
        mount, _, system = line.partition(" - ")
        fields, (kind, *_, options) = mount.split(), system.split()
        if kind == "cgroup2" or (kind == "cgroup" and "memory" in options.split(",")):
            root, place = (_ESCAPED.sub(lambda m: chr(int(m[1], 8)), each) for each in fields[3:5])
            yield ("memory" if kind == "cgroup" else kind), root, place


def _upwards(mount_point: Path, root: str, path: str) -> Iterator[Path]:
    """Yield the folder of a group and those above it, as far as they can be seen; a container may see its own only."""
    inside = path.removeprefix(root).strip("/") if path.startswith(root) else ""
    folder = mount_point / inside
    while folder != mount_point:
        if folder.is_dir():
            yield folder
        folder = folder.parent
    yield mount_point


def _number_of(path: Path) -> int | None:
    text = (_text_of(path) or "").strip()
    return int(text) if text.isdecimal() else None


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
