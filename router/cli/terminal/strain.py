"""What of a server's conditions is not as it should be, in one line."""

from router.cli.terminal.output import shown
from router.status import Status

_CALM = frozenset({None, "nominal"})


def strain_line(status: Status) -> str | None:
    """Return suspension, memory pressure and heat where they are not normal; None = all are."""
    parts = []
    if status.suspended is not None:
        parts.append(f"suspended ({shown(status.suspended)}; `mlxr resume` ends it)")
    if status.memory is not None and status.memory.pressure != "normal":
        parts.append(f"memory pressure {status.memory.pressure} ({shown(status.memory.reason)})")
    if status.heat is not None and status.heat.state not in _CALM:
        parts.append(f"heat {status.heat.state} ({shown(status.heat.reason)})")
    return "; ".join(parts) or None
