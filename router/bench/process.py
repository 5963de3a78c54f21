"""A benchmark in a process of its own, for a gateway: `python -m router.bench.process`.

It reads one line of JSON, a `BenchAssignment`, from stdin, and writes its events to stdout, one JSON object a line, the
last one `done` or `failed`. When stdin ends, because the gateway wants it or is gone, it keeps what was measured and
ends. Not here: the measuring (`runner`), the other side (`router.jobs.benches`).
"""

import asyncio
import sys
import threading

import msgspec

from registry.bench_record import BenchRecord
from registry.errors import RegistryError
from registry.store import Registry
from router.bench.events import BenchDone, BenchEvent, BenchFailed
from router.bench.plan.options import BenchAssignment
from router.bench.run.client import OurServer
from router.bench.run.runner import run_bench
from router.errors import RouterError
from router.keys.sending import credentials


def main() -> int:
    """Run; return the exit code."""
    assignment = msgspec.json.decode(sys.stdin.buffer.readline(), type=BenchAssignment)
    try:
        with Registry(assignment.database) as registry:
            record = asyncio.run(_run(assignment, registry))
            if not record.samples:
                _tell(BenchFailed(code="bench_stopped", message="It was stopped before anything was measured."))
                return 1
            registry.benches.add(record, owner=assignment.owner)
    except (RouterError, RegistryError) as exc:
        _tell(BenchFailed(code=exc.code, message=str(exc)))
        return 1
    _tell(BenchDone(bench_id=record.bench_id, is_complete=record.is_complete))
    return 0


async def _run(assignment: BenchAssignment, registry: Registry) -> BenchRecord:
    socket = assignment.unix_socket
    headers = credentials({}, unix_socket=socket, token_file=assignment.token_file)
    server = OurServer(url=assignment.url, cert_file=assignment.cert_file, unix_socket=socket, headers=headers)
    work = run_bench(assignment.options, server=server, get_model=registry.models.get, on_event=_tell)
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    threading.Thread(target=_cancel_at_end_of_stdin, args=(loop, task), daemon=True).start()
    return await task


def _cancel_at_end_of_stdin(loop: asyncio.AbstractEventLoop, task: "asyncio.Task[BenchRecord]") -> None:
    sys.stdin.buffer.read()
    if not loop.is_closed():
        loop.call_soon_threadsafe(task.cancel)


def _tell(event: BenchEvent) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
