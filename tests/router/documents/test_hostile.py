"""Documents that nobody should have to read: each is answered, by a text or a sentence, and nothing is left of it."""

import re
from pathlib import Path

import psutil
import pytest

from router.documents.messages import Reading
from router.documents.process import read_in_child
from router.errors import DocumentError
from tests.support.document_reading import task_of
from tests.support.hostile_documents import Hostile, hostile_documents

THIS_MACHINES = Path("/etc/passwd").read_text(encoding="utf-8").splitlines()[-1]
"""What some of them name, and none may show."""
MOST_GROWTH_BYTES = 64 << 20
"""Of this process, which never parses one."""


async def outcome(name: str, data: bytes) -> Reading | str:
    """What is read of it, or why it is not."""
    try:
        task = task_of(name, data, max_memory_bytes=512 << 20, max_cpu_s=3, timeout_s=600)
    except DocumentError as exc:
        return str(exc)
    reading = await read_in_child(task, data)
    return reading if reading.problem is None else f"{name} {reading.problem}"


def faults_of(case: Hostile, found: Reading | str) -> list[str]:
    """What is wrong with what became of one."""
    what, name, _, words = case
    if isinstance(found, Reading):
        is_leaking = THIS_MACHINES in found.markdown
        return [f"{what}: it was read"] if words or is_leaking else []
    faults = [] if words is None or words in found else [f"{what}: {found}"]
    if "timeout_s" in found or re.search(r"Traceback|\s/\w", found):
        faults.append(f"{what}: {found}")
    return faults if found.startswith(name) else [*faults, f"{what} is not named: {found}"]


@pytest.mark.slow
async def test_hostile_documents_are_answered_one_after_the_other() -> None:
    cases = hostile_documents()
    assert len(cases) > 200
    assert len({what for what, *_ in cases}) == len(cases)
    await outcome("a.txt", b"warm")
    process = psutil.Process()
    before, num_descriptors = process.memory_info().rss, process.num_fds()
    faults: list[str] = []
    for case in cases:
        faults += faults_of(case, await outcome(case[1], case[2]))
    assert faults == []
    assert process.children() == []
    assert process.num_fds() == num_descriptors
    assert process.memory_info().rss - before < MOST_GROWTH_BYTES
