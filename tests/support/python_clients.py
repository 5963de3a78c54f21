"""Client libraries that want other versions of our dependencies, unmodified, in an environment of their own."""

import json
import select
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.support.waiting import WITHIN_S

ROOT: Final = Path(__file__).parents[2]
PYTHON: Final = ROOT / ".venv-clients" / "bin" / "python"
SCRIPTS: Final = ROOT / "tests" / "e2e" / "clients"


class PythonClients:
    """One process that runs the scripts of `tests/e2e/clients`; what one has imported the next need not.

    One that answers nothing is ended, and the next script gets another: it fails no test but its own.

    Args:
        stderr: Where what the libraries say goes.
    """

    def __init__(self, stderr: Path) -> None:
        assert PYTHON.exists(), "`scripts/setup --dev` makes .venv-clients"
        self._stderr = stderr.open("ab")
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [PYTHON, "-P", SCRIPTS / "one_process.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self._process.communicate(timeout=WITHIN_S)  # it ends with its stdin
        finally:
            self._end()
            self._stderr.close()

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def results_of(self, script: str, *arguments: str) -> Any:
        """Run a script; return the JSON of its last line."""
        if self._process.poll() is not None:
            self._end()
            self._process = self._start()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(SCRIPTS / script), *arguments]) + "\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], WITHIN_S)[0]:
            self._end()
            raise AssertionError(f"no answer of {script} within {WITHIN_S:g} s; {self._stderr.name} has what it said")
        answer = self._process.stdout.readline()
        assert answer, f"the clients' process ended with {self._process.wait()}; {self._stderr.name} has what it said"
        answered = json.loads(answer)
        assert "error" not in answered, answered["error"][-4000:]
        return answered["result"]
