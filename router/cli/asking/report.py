"""`mlxr report`: pictures to JSON by a schema, one report of some pictures or a line for each picture of a folder."""

import hashlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from router.cli.asking.images import SUFFIXES, data_uri, naming_files
from router.cli.asking.report_lines import ReportLine, ReportLines
from router.cli.client.base import Client
from router.cli.client.errors import ServerAnswerError
from router.cli.terminal.context import CommandError, check_engine, current_paths
from router.cli.terminal.options import engine_option
from router.cli.terminal.output import plural, print_json, shown
from router.cli.terminal.server import client_or_error
from router.cli.terminal.verbs import argument, option, verb
from router.protocols.control.report_schemas import DEFAULT_TOKENS, ReportAnswer

_ANSWER_S: Final = 86_400.0
"""Reports are background work: they wait as long as others want the model."""

_QUEUE_S: Final = 2.0
"""Until the next try where the queue is full."""


@verb
@argument(
    "paths",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="IMAGE... | FOLDER",
    help="Pictures for one report, or a folder for a report of each.",
)
@option("--schema", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE", help="JSON schema.")
@option("--prompt", metavar="TEXT", help="What to ask, instead of a report by the schema.")
@option("--model", metavar="NAME", help="Who reports; else images.model of the config, or a model that sees.")
@engine_option("auto, mlx or llamacpp.")
@option("--max-tokens", type=click.IntRange(1), default=DEFAULT_TOKENS, show_default=True, help="Longest report.")
@option("--side", type=click.IntRange(1), metavar="PIXELS", help="What the longer side is shrunk to.")
@option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Of a folder: where lines are added; pictures that have one there are left out.",
)
@option("--json", "is_json", is_flag=True, help="Print the whole answer: what was seen, tokens and times too.")
def report(
    paths: tuple[Path, ...],
    schema: Path | None,
    prompt: str | None,
    model: str | None,
    engine: str | None,
    max_tokens: int,
    side: int | None,
    output: Path | None,
    is_json: bool,
) -> int:
    """Report what pictures show, as JSON. Several pictures are one report, a folder is a line of JSON for each.

    Examples: `mlxr report receipt.jpg`, `mlxr report front.png back.png --schema card.json`,
    `mlxr report scans/ --output scans.jsonl`, where the same command goes on after an interruption.
    """
    check_engine(engine)
    body: dict[str, Any] = {"max_tokens": max_tokens, "schema": _read_schema(schema), "prompt": prompt}
    body |= {"model": model, "image_side_px": side}
    body = {key: value for key, value in body.items() if value is not None}
    folders = [path for path in paths if path.is_dir()]
    if folders and len(paths) > 1:
        raise CommandError("A folder stands alone: name one folder, or pictures for one report.", exit_code=2)
    if output is not None and not folders:
        raise CommandError("--output is for a folder; one report is printed: write `> FILE` behind it.", exit_code=2)
    with client_or_error(current_paths()) as client:
        if folders:
            return _report_each(client, folders[0], body, engine, output)
        with naming_files(paths, "images"):
            answer = _ask(client, paths, body, engine)
    print_json(answer if is_json else answer.report)
    return 0


def _read_schema(path: Path | None) -> Any:
    if path is None:
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as exc:
        raise CommandError(f"The schema {shown(path)} cannot be used: {exc}.", exit_code=2) from exc


def _ask(client: Client, paths: Sequence[Path], body: dict[str, Any], engine: str | None) -> ReportAnswer:
    """Have pictures reported; where there is no place in the queue, wait for one."""
    asked = body | {"images": [data_uri(path) for path in paths]}
    while True:
        try:
            return client.post("/v1/mlxr/report", ReportAnswer, asked, _ANSWER_S, engine=engine)
        except ServerAnswerError as exc:
            if exc.code != "queue_full":
                raise
        time.sleep(_QUEUE_S)


def _report_each(client: Client, folder: Path, body: dict[str, Any], engine: str | None, output: Path | None) -> int:
    """Report each picture of a folder; a picture that fails is named and does not end the work."""
    pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not pictures:
        raise CommandError(f"There are no pictures in {shown(folder)} ({', '.join(sorted(SUFFIXES))}).", exit_code=2)
    asked = hashlib.sha256(msgspec.json.encode([body, engine], order="deterministic")).hexdigest()[:16]
    num_failed = num_known = 0
    started_at = time.monotonic()
    with ReportLines(output, asked) as lines:
        for number, path in enumerate(pictures, 1):
            digest = _digest(path)
            if lines.has(path.name, digest):
                num_known += 1
                continue
            print(f"[{number}/{len(pictures)}] {shown(path.name)}", file=sys.stderr, flush=True)
            try:
                answer = _ask(client, [path], body, engine)
            except (ServerAnswerError, CommandError) as exc:
                if isinstance(exc, ServerAnswerError) and not _is_the_pictures_fault(exc):
                    raise
                num_failed += 1
                print(f"mlxr: {shown(path.name)}: {shown(str(exc).removeprefix('images[0]: '))}", file=sys.stderr)
                continue
            lines.add(
                ReportLine(
                    file=path.name,
                    report=answer.report,
                    images=answer.images,
                    model=answer.model,
                    sha256=digest,
                    asked=asked,
                )
            )
    print(_summary(len(pictures), num_known, num_failed, time.monotonic() - started_at), file=sys.stderr)
    return 1 if num_failed else 0


def _is_the_pictures_fault(error: ServerAnswerError) -> bool:
    """Tell whether the next picture may be reported although this one was not."""
    return error.code in {"invalid_image", "report_cut", "context_length_exceeded"}


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""  # who reads it says why


def _summary(num_pictures: int, num_known: int, num_failed: int, seconds: float) -> str:
    parts = [f"{plural(num_pictures - num_known - num_failed, 'report')} in {seconds:.1f} s"]
    if num_known:
        parts.append(f"{num_known} were there already")
    if num_failed:
        parts.append(f"{num_failed} failed")
    return ", ".join(parts)
