"""`mlxr batch …`: answer a file of requests as background work, see the batches there are, cancel one."""

import time
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from router.cli.client.batches import BatchClient
from router.cli.terminal.context import CommandError, current_paths
from router.cli.terminal.options import ALL_FIELDS, json_option
from router.cli.terminal.output import plural, print_json, print_table, shown
from router.cli.terminal.server import instance_or_error
from router.cli.terminal.verbs import argument, option, verb
from router.http.dialect import OpenAIError
from router.jobs.batches.base import EndedLine, output_text
from router.protocols.batches.objects import BatchObject

POLL_S: Final = 0.3
MAX_SHOWN_CHARS: Final = 72


_batch_argument: Final = argument("batch_id", metavar="ID", help="As `mlxr batch list` shows it.")


@verb
@argument(
    "file", type=click.Path(path_type=Path), metavar="FILE.jsonl", help="One request a line, as for POST /v1/batches."
)
@option(
    "--policy",
    default="continue_independent",
    metavar="POLICY",
    help="continue_independent, or fail_fast: nothing starts after a failure.",
)
@option("--budget", type=int, metavar="TOKENS", help="No line starts after so many tokens.")
@option("--window", default="24h", metavar="TIME", help="Give up what is left after 90m, 24h, 7d.")
@option("--output", type=click.Path(path_type=Path), metavar="PATH", help="Write the results file there.")
@json_option("Print each end as a line of JSON, the batch last.")
def run(file: Path, policy: str, budget: int | None, window: str, output: Path | None, is_json: bool) -> int:
    """Answer the requests of a file; show each answer as it comes. Ctrl-C leaves the batch running.

    Examples: `mlxr batch run questions.jsonl`, `mlxr batch run chain.jsonl --policy fail_fast --output answers.jsonl`.
    """
    endpoint = _endpoint_of(file)
    with _client() as client:
        options: dict[str, Any] = {"failure_policy": policy, "completion_window": window}
        if budget is not None:
            options["token_budget"] = budget
        started_at = time.monotonic()
        begun = client.start({"input_file_id": client.upload(file), "endpoint": endpoint, **options})
        if not is_json:
            print(f"{begun.id}: `mlxr batch cancel {begun.id}` ends it; Ctrl-C leaves it running.")
        ended = _follow(client, begun.id, is_json=is_json)
        if output is not None and ended.output_file_id is not None:
            with output.open("wb") as out:
                out.writelines(client.content(ended.output_file_id))
    if is_json:
        _print_line(ended)
    else:
        _print_summary(ended, time.monotonic() - started_at)
    return 0 if ended.status == "completed" and not ended.request_counts.failed else 1


@verb
@json_option(ALL_FIELDS)
def list_batches(is_json: bool) -> None:
    """List the newest batches.

    Examples: `mlxr batch list`, `mlxr batch list --json`.
    """
    with _client() as client:
        if is_json:
            print_json(client.document(""))
            return
        found = client.batches()
    if not found:
        print("There are no batches. `mlxr batch run FILE.jsonl` begins one.")
        return
    head = ("ID", "ENDPOINT", "STATUS", "LINES", "ANSWERED", "FAILED", "TOKENS", "WORK")
    print_table(head, [_row(info) for info in found])


@verb
@_batch_argument
@json_option(ALL_FIELDS)
def show(batch_id: str, is_json: bool) -> None:
    """Show one batch, with what is wrong with it.

    Example: `mlxr batch show batch_0123456789abcdef0123456789abcdef`.
    """
    with _client() as client:
        if is_json:
            print_json(client.document(batch_id))
            return
        info = client.batch(batch_id)
    _print_summary(info, None)


@verb
@_batch_argument
@json_option(ALL_FIELDS)
def cancel(batch_id: str, is_json: bool) -> None:
    """End a batch early; what was answered stays.

    Example: `mlxr batch cancel batch_0123456789abcdef0123456789abcdef`.
    """
    with _client() as client:
        info = client.cancel(batch_id)
    if is_json:
        print_json(info)
    else:
        print(f"{shown(info.id)} is {info.status}.")


def _client() -> BatchClient:
    return BatchClient(instance_or_error(current_paths()))


def _endpoint_of(file: Path) -> str:
    """Read the first line's url, which is that of all lines."""
    with file.open("rb") as lines:
        first = next((line for line in lines if line.strip()), b"")
    try:
        request = msgspec.json.decode(first)
    except msgspec.DecodeError as exc:
        raise CommandError(f"{file}: the first line is no JSON: {exc}.") from exc
    url = request.get("url") if isinstance(request, dict) else None
    if not isinstance(url, str):
        raise CommandError(f"{file}: the first line has no url, such as /v1/chat/completions.")
    return url


def _follow(client: BatchClient, batch_id: str, *, is_json: bool) -> BatchObject:
    """Show each line as it ends; return the batch once it is final."""
    place = 0
    while True:
        info = client.batch(batch_id)
        while ends := client.ends(batch_id, place):
            place = ends[-1].place
            for end in ends:
                if is_json:
                    _print_line(end)
                else:
                    print(_shown_end(end, info.request_counts.total), flush=True)
        if info.status.is_final:
            return info
        time.sleep(POLL_S)


def _shown_end(end: EndedLine, num_total: int) -> str:
    head = f"[{end.place}/{num_total}] {shown(end.custom_id)}"
    response, error = end.result.response, end.result.error
    if end.is_ok and response is not None:
        text = shown(output_text(msgspec.json.decode(response.body)))
        return f"{head}  {end.duration_s:.1f} s  {text[:MAX_SHOWN_CHARS]}"
    told = error if response is None else msgspec.json.decode(response.body, type=OpenAIError).error
    assert told is not None, "a line has an answer or an error"
    return f"{head}  failed: {shown(told.code)}: {shown(told.message)}"


def _print_line(value: Any) -> None:
    print(msgspec.json.encode(value).decode(), flush=True)


def _print_summary(info: BatchObject, wall_s: float | None) -> None:
    counts = info.request_counts
    work = f"the lines took {info.work_seconds:.1f} s in all"
    if wall_s is not None:
        work = f"{wall_s:.1f} s; {work}, {info.work_seconds / max(wall_s, 0.001):.1f} at a time"
    print(
        f"{shown(info.id)} is {info.status}: {counts.completed} of {plural(counts.total, 'line')} answered, "
        f"{counts.failed} failed; {work}; {info.usage.total_tokens} tokens."
    )
    for problem in (info.errors.data if info.errors is not None else ())[:20]:
        where = "" if problem.line is None else f"line {problem.line}: "
        print(f"  {where}{shown(problem.code)}: {shown(problem.message)}")
    for what, file_id in (("results", info.output_file_id), ("errors", info.error_file_id)):
        if file_id is not None:
            print(f"  {what}: GET /v1/files/{file_id}/content")


def _row(info: BatchObject) -> tuple[object, ...]:
    counts = info.request_counts
    work = f"{info.work_seconds:.1f} s"
    return (
        info.id,
        info.endpoint,
        info.status,
        counts.total,
        counts.completed,
        counts.failed,
        info.usage.total_tokens,
        work,
    )
