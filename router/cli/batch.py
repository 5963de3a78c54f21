"""`mlxr batch …`: answer a file of requests as background work, see the batches there are, cancel one."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from router.cli.terminal.context import CommandError, current_paths, running_instance
from router.cli.terminal.output import plural, print_json, print_table, shown
from router.cli.terminal.quick import QuickCommand, QuickGroup

if TYPE_CHECKING:
    from router.cli.client.batches import BatchClient, BatchInfo, EndedLine

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, with every field.")]
BatchId = Annotated[str, typer.Argument(metavar="ID", help="As `mlxr batch list` shows it.")]

POLL_S: Final = 0.3
MAX_SHOWN_CHARS: Final = 72

batch = typer.Typer(
    name="batch",
    cls=QuickGroup,
    no_args_is_help=True,
    help="Answer files of requests as background work.",
    epilog="Examples: `mlxr batch run questions.jsonl`, `mlxr batch list`.",
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(batch)


@batch.command("run", cls=QuickCommand)
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE.jsonl", help="One request a line, as for POST /v1/batches.")],
    policy: Annotated[
        str, typer.Option(metavar="POLICY", help="continue_independent, or fail_fast: nothing starts after a failure.")
    ] = "continue_independent",
    budget: Annotated[int | None, typer.Option(metavar="TOKENS", help="No line starts after so many tokens.")] = None,
    window: Annotated[str, typer.Option(metavar="TIME", help="Give up what is left after 90m, 24h, 7d.")] = "24h",
    output: Annotated[Path | None, typer.Option(metavar="PATH", help="Write the results file there.")] = None,
    is_json: Annotated[bool, typer.Option("--json", help="Print each end as a line of JSON, the batch last.")] = False,
) -> None:
    """Answer the requests of a file; show each answer as it comes. Ctrl-C leaves the batch running.

    Examples: `mlxr batch run questions.jsonl`, `mlxr batch run chain.jsonl --policy fail_fast --output answers.jsonl`.
    """
    endpoint = _endpoint_of(file)
    with _client() as client:
        wishes: dict[str, Any] = {"failure_policy": policy, "completion_window": window}
        if budget is not None:
            wishes["token_budget"] = budget
        started_at = time.monotonic()
        begun = client.start({"input_file_id": client.upload(file), "endpoint": endpoint, **wishes})
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
    if ended.status != "completed" or ended.request_counts.failed:
        raise typer.Exit(1)


@batch.command("list", cls=QuickCommand)
def list_batches(is_json: JsonFlag = False) -> None:
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


@batch.command("show", cls=QuickCommand)
def show(batch_id: BatchId, is_json: JsonFlag = False) -> None:
    """Show one batch, with what is wrong with it.

    Example: `mlxr batch show batch_0123456789abcdef0123456789abcdef`.
    """
    with _client() as client:
        if is_json:
            print_json(client.document(batch_id))
            return
        info = client.batch(batch_id)
    _print_summary(info, None)


@batch.command("cancel", cls=QuickCommand)
def cancel(batch_id: BatchId, is_json: JsonFlag = False) -> None:
    """End a batch early; what was answered stays.

    Example: `mlxr batch cancel batch_0123456789abcdef0123456789abcdef`.
    """
    with _client() as client:
        info = client.cancel(batch_id)
    if is_json:
        print_json(info)
    else:
        print(f"{shown(info.id)} is {info.status}.")


def _client() -> "BatchClient":
    instance = running_instance(current_paths())
    if instance is None:
        raise CommandError("No mlxr server is running; start one with `mlxr serve` in another terminal.")
    from router.cli.client.batches import BatchClient

    return BatchClient(instance)


def _endpoint_of(file: Path) -> str:
    """Read the first line's url, which is that of all lines."""
    import msgspec

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


def _follow(client: "BatchClient", batch_id: str, *, is_json: bool) -> "BatchInfo":
    """Show each line as it ends; return the batch once it is final."""
    from router.cli.client.batches import FINAL_STATES

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
        if info.status in FINAL_STATES:
            return info
        time.sleep(POLL_S)


def _shown_end(end: "EndedLine", num_total: int) -> str:
    head = f"[{end.place}/{num_total}] {shown(end.custom_id)}"
    if end.is_ok:
        from router.jobs.batches.base import output_text

        text = shown(output_text(end.result["response"]["body"]))
        return f"{head}  {end.duration_s:.1f} s  {text[:MAX_SHOWN_CHARS]}"
    error = end.result["error"] or end.result["response"]["body"]["error"]
    return f"{head}  failed: {shown(error['code'])}: {shown(error['message'])}"


def _print_line(value: Any) -> None:
    import msgspec

    print(msgspec.json.encode(value).decode(), flush=True)


def _print_summary(info: "BatchInfo", wall_s: float | None) -> None:
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


def _row(info: "BatchInfo") -> tuple[object, ...]:
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
