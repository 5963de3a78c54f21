"""Upgrades under a running server: its workers are started from the files as they are then, and it is as it was."""

import re
from pathlib import Path
from typing import Final

import backends.version
from backends.version import VERSION

_DECLARED: Final = re.compile(r'^VERSION = "([^"]+)"$', re.MULTILINE)


def clash_of(version: str | None) -> str | None:
    """Return what is wrong with a worker of a version, and the way out; None = nothing, or it is not known.

    Args:
        version: "" = of a time when workers did not say theirs.
    """
    if version is None or version == VERSION:
        return None
    found = f"mlxr {version}" if version else "an earlier mlxr"
    return f"{found} was installed while this server, mlxr {VERSION}, runs: restart it (`mlxr service restart`)"


def installed_version(file: Path = Path(backends.version.__file__)) -> str | None:
    """Return the version of the files on the disk; None = they do not say."""
    try:
        found = _DECLARED.search(file.read_text(encoding="utf-8"))
    except OSError:
        return None
    return None if found is None else found[1]
