"""The gateway's side of the process that reads one document: start it, feed it, watch it, end it.

Its memory is looked at from here as well, because macOS holds no process to a limit of its address space. Cancelling
the task ends the process.
"""

import asyncio
import contextlib
import signal
import sys
from functools import partial
from typing import Final

import msgspec

from backends.machine.current import current_platform
from registry.threads import in_thread
from router.documents.messages import HEADER_BYTES, Reading, ReadingLimits, Task, most_reply_bytes

_LOOK_S: Final = 0.05
"""Between two looks at what the process takes."""
_READ_BYTES: Final = 1 << 18
_ARGV: Final = (sys.executable, "-I", "-B", "-m", "router.documents.child")


async def read_in_child(task: Task, data: bytes) -> Reading:
    """Return what came of a document, whatever became of the process."""
    limits = task.limits
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *_ARGV, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, env={}, cwd="/"
    )
    watch = asyncio.create_task(_outgrown(process, limits))
    try:
        async with asyncio.timeout(limits.timeout_s):
            feeding = asyncio.create_task(_feed(process, task, data))
            try:
                reply = await _reply(process, limits)
            finally:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)
            if reply is not None:
                code = await process.wait()
                return _reading(task, reply, code, has_outgrown=watch.done())
            return _without(task, "makes a text that is too long")
    except TimeoutError:
        return _without(task, f"takes over {limits.timeout_s} s to read (documents.timeout_s); split it")
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()  # its end is only seen when its pipes are empty


async def _feed(process: asyncio.subprocess.Process, task: Task, data: bytes) -> None:
    assert process.stdin is not None
    told = msgspec.msgpack.encode(task)
    with contextlib.suppress(ConnectionError):  # it has ended; how, is seen by its reply
        process.stdin.write(len(told).to_bytes(HEADER_BYTES, "big") + told)
        process.stdin.write(data)
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()


async def _reply(process: asyncio.subprocess.Process, limits: ReadingLimits) -> bytes | None:
    """Return all that the process says; None = it says too much."""
    assert process.stdout is not None
    reply, most = bytearray(), most_reply_bytes(limits)
    while piece := await process.stdout.read(_READ_BYTES):
        reply += piece
        if len(reply) > most:
            return None
    return bytes(reply)


async def _outgrown(process: asyncio.subprocess.Process, limits: ReadingLimits) -> None:
    """Come back once the process takes more memory than it may, and is killed."""
    look = partial(current_platform().footprint_of, process.pid)
    while True:
        await asyncio.sleep(_LOOK_S)
        footprint = await in_thread(look) if process.returncode is None else None
        if footprint is not None and footprint.rss_bytes > limits.max_memory_bytes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            return


def _reading(task: Task, reply: bytes, code: int, *, has_outgrown: bool) -> Reading:
    limits = task.limits
    if code == 0:
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.msgpack.decode(reply, type=Reading)
    memory = f"takes over {limits.max_memory_bytes >> 20} MiB to read (documents.max_memory_bytes)"
    if has_outgrown:
        return _without(task, f"{memory}; split it")
    if code in {-signal.SIGXCPU, -signal.SIGKILL}:
        return _without(task, f"takes over {limits.max_cpu_s} s of a processor to read (documents.max_cpu_s); split it")
    return _without(task, f"is damaged, or {memory}: what reads it ended without a word")


def _without(task: Task, problem: str) -> Reading:
    return Reading(kind=task.kind, problem=problem)
