"""`mlxr ps` and `mlxr stop`: what the running server has loaded, and unloading it."""

import time
from typing import Any

from backends.wire.threads import ThreadsReason
from router.cli.terminal.context import current_paths
from router.cli.terminal.options import json_option
from router.cli.terminal.output import picture_sides, plural, print_json, print_table, shown, size
from router.cli.terminal.server import client_if_running, client_or_error
from router.cli.terminal.strain import strain_line
from router.cli.terminal.verbs import argument, option, verb
from router.status import ModelStatus, Status, WorkerStatus
from router.status.contexts import RunningContext
from router.status.upstreams import UpstreamStatus

_HEAD = ("MODEL", "ENGINE", "STATE", "PID", "MEMORY", "RUNNING", "WAITING", "CONTEXT", "LOADED FOR", "UNLOADS")


@verb
@json_option("Print the server's whole status; with --watch an object per event.")
@option("--watch", "is_watching", is_flag=True, help="Go on: a live table, or a line per event where it is piped.")
def list_workers(is_json: bool, is_watching: bool) -> None:
    """List what the running server has loaded, on which engine, with how much memory.

    Examples: `mlxr ps`, `mlxr ps --json`, `mlxr ps --watch`, `mlxr ps --watch --json | jq .`.
    """
    if is_watching:
        from router.cli.watching import watch  # noqa: PLC0415 - with httpx, which the rest may not need

        watch(is_json=is_json, draw=_print_status)
        return
    client = client_if_running(current_paths())
    if client is None:
        print_json(None) if is_json else print("No mlxr server is running; `mlxr serve` starts one.")
        return
    with client:
        print_json(client.get("/v1/mlxr/status", dict[str, Any])) if is_json else _print_status(client.status())


def _print_status(status: Status) -> None:
    print(f"mlxr {status.version}, process {status.pid}, {status.url or 'starting'}, engine: {status.engine_setting}")
    _print_troubles(status)
    if not status.workers:
        print("No model is loaded; the first request loads one.")
    else:
        now = time.time()
        rows = [
            (
                worker.model if worker.adapter is None else f"{worker.model}+{worker.adapter}",
                worker.engine,
                _state(worker),
                worker.pid,
                size(worker.rss_bytes),
                worker.num_running,
                worker.num_waiting,
                worker.context_length,
                None if worker.loaded_at is None else f"{max(0.0, now - worker.loaded_at):.0f} s",
                None if worker.expires_at is None else f"in {max(0.0, worker.expires_at - now):.0f} s",
            )
            for worker in status.workers
        ]
        print_table(_HEAD, rows)
        for worker in status.workers:
            if worker.threads_reason is ThreadsReason.CORES_BUSY:
                print(f"{shown(worker.model or '')} computes with {_threads(worker)}: other programs use the cores.")
        _print_caches(status)
        _print_drafts(status)
        _print_shares(status)
        for name, vision in {worker.model: worker.vision for worker in status.workers if worker.vision}.items():
            print(f"Pictures for {shown(name or '')}: {picture_sides(vision.max_side_px, vision.high_side_px)}.")
    for line in (*map(_upstream_line, status.upstreams), *map(_fill_line, status.contexts)):
        print(line)
    for model in status.models:
        if model.reason is not None and model.state in {"error", "idle"}:
            print(f"{shown(model.model)} on {model.engine} is {_because(model)}")
    if status.queue.num_waiting:
        targets = ", ".join(f"{t.num_waiting} for {t.model}@{t.engine}" for t in status.queue.by_target)
        print(f"{plural(status.queue.num_waiting, 'request')} waiting: {targets}")
    if status.checksums is not None:
        left = plural(status.checksums.num_artifacts_left, "model")
        done, total = size(status.checksums.done_bytes), size(status.checksums.total_bytes)
        print(f"Computing checksums in the background: {done} of {total}, {left} left.")


def _print_shares(status: Status) -> None:
    """Say what the models take of what there is, and who would go next, where several may be loaded."""
    told = status.memory_of_models
    if told is None or told.mode == "exclusive" or not told.models:
        return
    of = "" if told.limit_bytes is None else f"; there are {size(told.limit_bytes)} for models"
    print(f"Residency: {told.mode}. {size(told.held_bytes)} are taken{of}.")
    rows = [
        (each.model, each.engine, size(each.held_bytes), size(each.read_bytes), each.goes or "stays", each.why)
        for each in told.models
    ]
    print_table(("MODEL", "ENGINE", "COUNTS FOR", "HOLDS", "GOES", "WHY"), rows)


def _print_caches(status: Status) -> None:
    for worker in status.workers:
        if worker.num_cells_made is not None and worker.num_cells_made != worker.num_cells:
            grown = f", after {plural(worker.num_cache_growths, 'growth')}" if worker.num_cache_growths else ""
            print(
                f"The cache of {shown(worker.model or '')} has memory for {worker.num_cells_made:,} of its "
                f"{worker.num_cells or 0:,} tokens{grown}; {worker.num_cells_used or 0:,} are in use."
            )


def _print_drafts(status: Status) -> None:
    for worker in status.workers:
        draft, name = worker.draft, shown(worker.model or "")
        if draft is not None and draft.why_not is not None:
            print(f"{name} runs without {shown(draft.model)}, which is to draft for it: {shown(draft.why_not)}.")
        elif draft is not None:
            print(f"{shown(draft.model)} drafts for {name}: {size(draft.memory_bytes)} of its memory.")


def _upstream_line(upstream: UpstreamStatus) -> str:
    """Write how an upstream stands, as a sentence."""
    what = f"upstream:{upstream.name} has {plural(len(upstream.models), 'model')}"
    busy = f", {upstream.num_running} running, {upstream.num_waiting} waiting" if upstream.num_running else ""
    if upstream.tokens_today:
        cost = f" for {upstream.cost_today:.4g}" if upstream.cost_today else ""
        busy += f", {upstream.tokens_today:,} tokens today{cost}"
    if upstream.is_asked:
        return f"{what}{busy}." if upstream.why is None else f"{what}{busy}; it failed last: {shown(upstream.why)}."
    wait = f"; it is asked again in {upstream.wait_s:.0f} s" if upstream.wait_s else ""
    return f"{what}{busy}, and is not asked now: {shown(upstream.why or upstream.state)}{wait}."


def _fill_line(fill: RunningContext) -> str:
    share = f"{shown(fill.request)} fills {fill.used:,} of {fill.limit:,} tokens of {shown(fill.model)}"
    if fill.id is None:
        return f"{share}."
    messages = plural(fill.turns or 0, "older message")
    if not fill.narrative_tokens:
        return f"{share}; {messages} left out ({shown(fill.id)})."
    rest = ", and some left out" if fill.left_out else ""
    return f"{share}; {messages} told in {fill.narrative_tokens:,} tokens{rest} ({shown(fill.id)})."


def _threads(worker: WorkerStatus) -> str:
    most = plural(worker.num_threads or 0, "thread")
    if worker.num_threads_now == worker.num_threads:
        return f"{most} that sleep while they wait"
    return f"{worker.num_threads_now} of {most}"


def _print_troubles(status: Status) -> None:
    if status.config_error is not None:
        print(f"The config file cannot be used, the last good one counts: {status.config_error}")
    if status.restart is not None:
        print(f"No worker can be started: {shown(status.restart)}.")
    strain = strain_line(status)
    if strain is not None:
        print(f"The server is not at its best: {strain}.")


def _because(model: ModelStatus) -> str:
    words = f"{model.state}: {shown(model.reason)}"
    return words if model.way_out is None else f"{words.rstrip('.')}. {shown(model.way_out)}"


def _state(worker: WorkerStatus) -> str:
    is_loading = worker.state == "loading" and worker.load_fraction is not None
    return f"loading {worker.load_fraction:.0%}" if is_loading else worker.state


@verb
@argument("model", help="Model to unload.")
@json_option()
def stop(model: str, is_json: bool) -> None:
    """Unload a model; its running answers may finish first.

    Example: `mlxr stop smollm2-135m-instruct`.
    """
    with client_or_error(current_paths()) as client:
        result = client.stop_model(model)
    if is_json:
        print_json(result)
    elif not result.stopped:
        print(f"{model} was not loaded.")
    else:
        took = "" if result.unload_ms is None else f" in {result.unload_ms / 1000:.2f} s"
        freed = "" if result.freed_bytes is None else f"; {size(result.freed_bytes)} freed"
        print(f"{model} is unloaded{took}{freed}.")
