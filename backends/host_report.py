"""What a machine says of itself before a model is spread over it and others; `mlxr hosts check` starts this there.

    python -P -m backends.host_report < ASKED

What it is asked comes by stdin and what it answers goes to stdout, as JSON, so that no path is ever part of a command.
It imports no engine.
"""

import hashlib
import importlib.metadata
import platform
import socket
import sys
from pathlib import Path
from typing import Final

import msgspec

from backends.machine.current import current_platform
from backends.version import VERSION

LIBRARIES: Final = ("mlx", "mlx-lm")
CONNECT_TIMEOUT_S: Final = 5.0
MAX_ASKED_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 1 << 20


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a host is asked.

    Attributes:
        folder: Whose files are to be read, absolute; None = none.
        address: Which must be one of the host's own; None = none is given.
        first: Where the first host listens meanwhile, to be reached from here; None = here.
    """

    folder: str | None = None
    address: str | None = None
    first: tuple[str, int] | None = None


class HostReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a host answers.

    Attributes:
        versions: Of mlxr and the engine's libraries; those that are missing are not there.
        files: Name to SHA-256 of all files of the folder; None = there is no such folder.
        num_bytes: What these files take.
        problems: What stands in the way, in words.
    """

    system: str
    versions: dict[str, str]
    available_bytes: int
    files: dict[str, str] | None = None
    num_bytes: int = 0
    problems: tuple[str, ...] = ()


def report(asked: Asked) -> HostReport:
    """Look at this machine."""
    versions = {"mlxr": VERSION}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    files, num_bytes, problems = None, 0, list(_network_problems(asked))
    if asked.folder is not None and Path(asked.folder).is_dir():
        try:
            files, num_bytes = _hashes(Path(asked.folder))
        except OSError as exc:
            problems.append(f"{asked.folder} cannot be read: {exc.strerror or exc}")
    return HostReport(
        system=f"{platform.system()} {platform.machine()}",
        versions=versions,
        available_bytes=current_platform().memory().available_bytes,
        files=files,
        num_bytes=num_bytes,
        problems=tuple(problems),
    )


def _network_problems(asked: Asked) -> list[str]:
    problems = []
    if asked.address is not None:
        try:
            with socket.socket() as sock:
                sock.bind((asked.address, 0))
        except OSError:
            problems.append(f"{asked.address} is not an address of it")
    if asked.first is not None:
        try:
            socket.create_connection(asked.first, timeout=CONNECT_TIMEOUT_S).close()
        except OSError as exc:
            problems.append(f"it does not reach the first host at {asked.first[0]}: {exc}")
    return problems


def _hashes(folder: Path) -> tuple[dict[str, str], int]:
    hashes, num_bytes = {}, 0
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    num_bytes += len(chunk)
            hashes[path.name] = digest.hexdigest()
    return hashes, num_bytes


def main() -> int:
    """Answer what stdin asks."""
    asked = msgspec.json.decode(sys.stdin.buffer.read(MAX_ASKED_BYTES), type=Asked)
    sys.stdout.buffer.write(msgspec.json.encode(report(asked)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
