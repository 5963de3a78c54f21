"""The table of metrics as docs/telemetry.md has it."""

from collections.abc import Iterator

from router.telemetry.table import METRICS


def reference_lines() -> Iterator[str]:
    """Write the table in Markdown, line by line."""
    yield "| metric | type | labels | what |"
    yield "|---|---|---|---|"
    for metric in METRICS:
        yield f"| `{metric.name}` | {metric.kind} | {', '.join(metric.labels) or '-'} | {metric.what} |"
