"""How worker processes are started: command line and environment. No secrets, no network, no remote code. Pure."""

import sys
from collections.abc import Mapping

import msgspec

from router.service.environment import is_secret
from router.service.notify import NOTIFY_VARIABLES

_DROPPED = frozenset({"MLX_LM_TRUST_REMOTE_CODE", "HF_ENDPOINT", *NOTIFY_VARIABLES})

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # transformers warns about PyTorch's absence on every start, and tokenizers about forks; neither concerns us.
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # llama.cpp would attach a debugger to itself before it aborts: seconds, and pages that hide its own words.
    "GGML_NO_BACKTRACE": "1",
}


class WorkerLaunch(msgspec.Struct, frozen=True):
    """How to start a worker.

    Attributes:
        engine: `mlx`, `llamacpp` or `fake`.
        options: JSON for the fake engine.
    """

    engine: str
    environment: Mapping[str, str]
    options: str = "{}"

    def argv(self, fd: int) -> list[str]:
        """Return the command line; -P keeps the current folder off the worker's import path."""
        argv = [sys.executable, "-P", "-m", "backends.process.worker", "--engine", self.engine, "--fd", str(fd)]
        return argv if self.options == "{}" else [*argv, "--options", self.options]


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for workers, made from the gateway's own."""
    kept = {name: value for name, value in environment.items() if name not in _DROPPED and not is_secret(name)}
    return kept | OFFLINE
