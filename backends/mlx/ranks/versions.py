"""Versions, and the kind of processor, that have to be the same on all ranks: types of numbers hang on both."""

from importlib.metadata import version

from backends.mlx.device import device_name
from backends.mlx.loading import LIBRARIES
from backends.version import VERSION


def own_versions() -> dict[str, str]:
    """Return those of this process."""
    return {"mlxr": VERSION} | {library: version(library) for library in LIBRARIES} | {"device": device_name()}


def version_clash(ours: dict[str, str], theirs: dict[str, str]) -> str | None:
    """Return what is otherwise there; None = nothing is."""
    others = [name for name in ours if theirs.get(name) != ours[name]]
    return " and ".join(f"{name} {theirs.get(name, '?')} (here {ours[name]})" for name in others) or None
