"""How many connections a process's limit of open files lets in; each limit is of a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from router.http.limits import OTHER_FILES

_ASK = """
import logging, resource, sys
from router.http.limits import affordable_connections
logging.basicConfig(format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
print(affordable_connections(int(sys.argv[3])), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def ask(soft: int, hard: int, wanted: int) -> tuple[list[int], str]:
    argv = [sys.executable, "-c", _ASK, str(soft), str(hard), str(wanted)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    return [int(word) for word in done.stdout.split()], done.stderr


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [
        (256, 4096, [2048, 2048 + OTHER_FILES]),  # macOS begins with 256
        (4096, 4096, [2048, 4096]),  # it is enough
    ],
)
def test_the_limit_is_raised_to_what_is_needed(soft: int, hard: int, expected: list[int]) -> None:
    assert ask(soft, hard, 2048) == (expected, "")


def test_where_it_may_not_be_raised_fewer_connections_are_taken_and_the_log_says_so() -> None:
    found, words = ask(256, 300, 2048)
    assert found == [300 - OTHER_FILES, 300]
    assert f"at most {300 - OTHER_FILES} connections at a time instead of server.max_connections" in words
    assert "ulimit -n" in words
