"""Lines are run as one batch, and told as they end. Not here: what a line is (`lines.py`)."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from examples.graphs.lines import ENDPOINT, NOT_ANSWERED, Ends, Line, LineEnd, answered_end, critical_path, too_early
from examples.stage.scenario import Stage

POLL_S: Final = 0.2


class BatchRun(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that has ended.

    Attributes:
        wall_s: From its start to its end, by this process's clock.
        work_s: The sum of what its lines took, by the server.
        tokens: That it used, prompts included.
        budget: After which no line starts; None = no bound.
    """

    batch_id: str
    status: str
    ends: dict[str, LineEnd]
    wall_s: float
    work_s: float
    tokens: int
    budget: int | None

    @property
    def left(self) -> int | None:
        """What was left of the budget; below 0 where lines that ran already went over it."""
        return None if self.budget is None else self.budget - self.tokens


def run_batch(stage: Stage, lines: Sequence[Line], *, budget: int | None = None) -> BatchRun:
    """Run lines to the end of all of them; those that fail cost only those that depend on them.

    Raises:
        ClientError: The batch cannot be begun or followed.
    """
    client = stage.server.client
    options: dict[str, Any] = {"failure_policy": "continue_independent", "completion_window": "1h"}
    options |= {} if budget is None else {"token_budget": budget}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines.jsonl"
        path.write_bytes(b"".join(line.json(stage.model) + b"\n" for line in lines))
        started_s = time.monotonic()
        batch = client.start({"input_file_id": client.upload(path), "endpoint": ENDPOINT, **options})
    ends: dict[str, LineEnd] = {}
    while True:
        batch = client.batch(batch.id)
        for ended in client.ends(batch.id, len(ends)):
            body = _body(ended.result.response)
            if ended.is_ok:
                end = answered_end(ended.custom_id, ended.place, ended.duration_s, body)
            else:
                code = _code(ended.result.error, body)
                end = LineEnd(name=ended.custom_id, place=ended.place, took_s=ended.duration_s, code=code)
            ends[end.name] = end
            stage.say(_line(end, len(lines)))
        if batch.status.is_final and len(ends) == len(lines):
            break
        if batch.status.is_final and batch.errors is not None:
            stage.say("; ".join(problem.message for problem in batch.errors.data))
            break
        time.sleep(POLL_S)
    return BatchRun(
        batch_id=batch.id,
        status=str(batch.status),
        ends=ends,
        wall_s=time.monotonic() - started_s,
        work_s=batch.work_seconds,
        tokens=batch.usage.total_tokens,
        budget=budget,
    )


def tell(stage: Stage, lines: Sequence[Line], ran: BatchRun) -> dict[str, Any]:
    """Say what a batch took beside what it had to take, and check the order of its lines; return the figures."""
    path_s, path = critical_path(lines, ran.ends)
    stage.say()
    stage.say(f"critical path {path_s:.2f} s ({' -> '.join(path)}), {ran.wall_s:.2f} s on the wall")
    stage.say(f"what the lines took adds up to {ran.work_s:.2f} s: {ran.work_s / ran.wall_s:.1f} at a time")
    if ran.budget is not None:
        stage.say(f"token budget {ran.budget}: {ran.tokens} used, {ran.left} left")
    early = too_early(lines, ran.ends)
    stage.check("no line was answered before those that it depends on", not early, f"{len(lines)} lines")
    stage.check("no faster than its critical path", path_s <= ran.wall_s, f"{path_s:.2f} s of {ran.wall_s:.2f} s")
    return {
        "batch": ran.batch_id,
        "status": ran.status,
        "lines": list(ran.ends.values()),
        "critical_path": {"seconds": path_s, "lines": path},
        "wall_s": ran.wall_s,
        "work_s": ran.work_s,
        "tokens": {"budget": ran.budget, "used": ran.tokens, "left": ran.left},
    }


def check_affinity(stage: Stage, lines: Sequence[Line], ends: Ends) -> dict[str, list[int | None]]:
    """Check that all lines of a session were answered by one worker; return the PIDs of each."""
    pids: dict[str, set[int | None]] = {}
    for line in lines:
        if line.session is not None and line.name in ends and ends[line.name].code is None:
            pids.setdefault(line.session, set()).add(ends[line.name].pid)
    seen = ", ".join(f"{session} PID {'/'.join(map(str, sorted(own, key=str)))}" for session, own in pids.items())
    stage.check("each session stayed with one worker", all(len(own) == 1 for own in pids.values()), seen)
    return {session: sorted(own, key=str) for session, own in pids.items()}


def _body(response: Any) -> dict[str, Any]:
    """Return what the endpoint answered, {} where the line was not run."""
    return {} if response is None else msgspec.json.decode(response.body, type=dict[str, Any])


def _code(error: Any, body: Mapping[str, Any]) -> str:
    return str(error.code if error is not None else (body.get("error") or {}).get("code") or NOT_ANSWERED)


def _line(end: LineEnd, num_lines: int) -> str:
    if end.code is not None:
        return f"[{end.place}/{num_lines}] {end.name}: {end.code}"
    tokens = f"{end.prompt_tokens} prompt tokens ({end.cached_tokens} cached), {end.output_tokens} written"
    return f"[{end.place}/{num_lines}] {end.name}: {end.took_s:.2f} s, PID {end.pid}, {tokens}"
