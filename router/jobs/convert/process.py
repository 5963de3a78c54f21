"""Runs `backends.converting.convert` for one step of a conversion, follows its progress bar and reads its reply.

Cancelling the task ends the process. Not here: what the steps are for (`steps`).
"""

import asyncio
import re
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from backends.converting.convert_messages import ConvertReply, ParityReading
from router.errors import ConversionError
from router.jobs.convert.report import ConversionOptions

_PERCENT: Final = re.compile(rb"(\d{1,3})%\|")
"""A bar of tqdm, which both converters use: `Converting:  42%|`."""

_TAIL_BYTES: Final = 4_000


async def run_converter(
    source: str,
    out: Path,
    options: ConversionOptions,
    *,
    pre: str | None,
    environment: Mapping[str, str],
    on_share: Callable[[float], object],
) -> None:
    """Convert.

    Args:
        source: A GGUF file or a folder of float weights.
        pre: How a GGUF says that text is cut before it is tokenized, its `tokenizer.ggml.pre`.
        on_share: Called with the share of its bar, 0..1; a converter may show several bars in a row.

    Raises:
        ConversionError: It failed.
    """
    argv = ["convert", "--source", source, "--out", str(out), "--group-size", str(options.group_size)]
    argv += ["--dtype", options.dtype] if options.dtype else []
    argv += ["--bits", str(options.bits)] if options.bits is not None else []
    argv += ["--pre", pre] if pre is not None else []
    await _run(argv, environment, on_share)


async def read_parity(
    engine: str, path: str, *, environment: Mapping[str, str], token_ids: Sequence[int] | None = None
) -> ParityReading:
    """Let a model read the fixed text.

    Args:
        engine: `mlx` or `llamacpp`.
        token_ids: The text's tokens; None = by the model's own tokenizer.

    Raises:
        ConversionError: It failed.
    """
    argv = ["parity", "--engine", engine, "--source", path]
    argv += ["--token-ids", ",".join(map(str, token_ids))] if token_ids is not None else []
    reply = await _run(argv, environment, lambda _share: None)
    try:
        return msgspec.convert(reply.parity, ParityReading)
    except msgspec.ValidationError as exc:
        raise ConversionError(f"The comparison gave no reading: {exc}.") from exc


async def _run(
    argv: Sequence[str], environment: Mapping[str, str], on_share: Callable[[float], object]
) -> ConvertReply:
    # Its stdin is our lifeline: it ends when we do, however we do.
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-P", "-m", "backends.converting.convert", *argv)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=pipe, env=dict(environment)
    )
    assert process.stdout is not None
    assert process.stderr is not None
    tail: deque[int] = deque(maxlen=_TAIL_BYTES)
    try:
        following = _follow(process.stderr, tail, on_share)
        line, _, code = await asyncio.gather(process.stdout.read(), following, process.wait())
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()  # its end is only seen when its pipes are empty
    try:
        reply = msgspec.json.decode(line, type=ConvertReply)
    except msgspec.DecodeError:
        reply = ConvertReply(error=f"the process ended with exit code {code}")
    if reply.error is not None:
        said = _last_words(bytes(tail))
        raise ConversionError(f"The step '{argv[0]}' failed: {reply.error}{f'; it said: {said}' if said else ''}")
    return reply


async def _follow(stream: asyncio.StreamReader, tail: "deque[int]", on_share: Callable[[float], object]) -> None:
    while piece := await stream.read(4096):
        tail.extend(piece)
        shares = _PERCENT.findall(piece)
        if shares:
            on_share(min(int(shares[-1]), 100) / 100)


def _last_words(tail: bytes) -> str:
    """Give the last line that is no bar and no frame of a traceback, on one line, at most 300 characters."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", tail.decode(errors="replace"))]
    said = [line for line in lines if line and "%|" not in line and not line.startswith(("File ", "^", "==="))]
    return said[-1][:300] if said else ""
