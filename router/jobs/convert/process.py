"""Runs `backends.converting.convert` for one step of a conversion, follows its progress bar and reads its reply.

Not here: what the steps are for (`steps`).
"""

import contextlib
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from backends.converting.convert_messages import ConvertReply, ParityReading
from router.jobs.convert.report import ConversionOptions
from router.work_errors import ConversionError, ConversionStoppedError

_PERCENT: Final = re.compile(rb"(\d{1,3})%\|")
"""A bar of tqdm, which both converters use: `Converting:  42%|`."""

_TAIL_BYTES: Final = 4_000
_END_TIMEOUT_S: Final = 10.0


class Stopper:
    """Ends the processes of one conversion, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    def stop(self) -> None:
        """End the process that runs and let no other one begin."""
        with self._lock:
            self._is_stopped = True
            if self._process is not None:
                self._process.kill()

    def check(self) -> None:
        """Do nothing while the conversion may go on.

        Raises:
            ConversionStoppedError: It was stopped.
        """
        if self._is_stopped:
            raise ConversionStoppedError("The conversion was stopped; nothing of it was kept.")

    @contextlib.contextmanager
    def minding(self, process: "subprocess.Popen[bytes]") -> Iterator[None]:
        """Have a process ended by `stop` while the body runs."""
        with self._lock:
            self._process = process
            if self._is_stopped:
                process.kill()
        try:
            yield
        finally:
            with self._lock:
                self._process = None


def run_converter(
    source: str,
    out: Path,
    options: ConversionOptions,
    *,
    pre: str | None = None,
    environment: Mapping[str, str],
    stopper: Stopper,
    on_share: Callable[[float], None],
) -> None:
    """Convert in a process of its own.

    Args:
        source: A GGUF file or a folder of float weights.
        pre: How a GGUF says that text is cut before it is tokenized, its `tokenizer.ggml.pre`.
        on_share: Called with the share of its bar, 0..1; a converter may show several bars in a row.

    Raises:
        ConversionError: It failed, or was stopped.
    """
    argv = ["convert", "--source", source, "--out", str(out), "--group-size", str(options.group_size)]
    argv += ["--dtype", options.dtype] if options.dtype else []
    argv += ["--bits", str(options.bits)] if options.bits is not None else []
    argv += ["--pre", pre] if pre is not None else []
    _run(argv, environment, stopper, on_share)


def read_parity(
    engine: str, path: str, *, environment: Mapping[str, str], stopper: Stopper, token_ids: Sequence[int] | None = None
) -> ParityReading:
    """Let a model read the fixed text in a process of its own.

    Args:
        engine: `mlx` or `llamacpp`.
        token_ids: The text's tokens; None = by the model's own tokenizer.

    Raises:
        ConversionError: It failed, or was stopped.
    """
    argv = ["parity", "--engine", engine, "--source", path]
    argv += ["--token-ids", ",".join(map(str, token_ids))] if token_ids is not None else []
    reply = _run(argv, environment, stopper, lambda _share: None)
    try:
        return msgspec.convert(reply.parity, ParityReading)
    except msgspec.ValidationError as exc:
        raise ConversionError(f"The comparison gave no reading: {exc}.") from exc


def _run(
    argv: Sequence[str], environment: Mapping[str, str], stopper: Stopper, on_share: Callable[[float], None]
) -> ConvertReply:
    stopper.check()
    # Its stdin is our lifeline: it ends when we do, however we do.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "backends.converting.convert", *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    tail: deque[int] = deque(maxlen=_TAIL_BYTES)
    follower = threading.Thread(target=_follow, args=(process.stderr, tail, on_share), daemon=True)
    follower.start()
    try:
        with stopper.minding(process):
            line = process.stdout.read()
            code = process.wait()
    finally:
        process.kill()
        process.wait()
        follower.join(_END_TIMEOUT_S)
        for pipe in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]  # all three were asked for
    stopper.check()
    try:
        reply = msgspec.json.decode(line, type=ConvertReply)
    except msgspec.DecodeError:
        reply = ConvertReply(error=f"the process ended with exit code {code}")
    if reply.error is not None:
        said = _last_words(bytes(tail))
        raise ConversionError(f"The step '{argv[0]}' failed: {reply.error}{f'; it said: {said}' if said else ''}")
    return reply


def _follow(stream: IO[bytes], tail: "deque[int]", on_share: Callable[[float], None]) -> None:
    read: Callable[[int], Any] = getattr(stream, "read1", stream.read)
    while piece := read(4096):
        tail.extend(piece)
        shares = _PERCENT.findall(piece)
        if shares:
            on_share(min(int(shares[-1]), 100) / 100)


def _last_words(tail: bytes) -> str:
    """Give the last line that is no bar and no frame of a traceback, on one line, at most 300 characters."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", tail.decode(errors="replace"))]
    said = [line for line in lines if line and "%|" not in line and not line.startswith(("File ", "^", "==="))]
    return said[-1][:300] if said else ""
