"""Reads the files of a model that is loaded next into the system's cache, while the last one still answers."""

import contextlib
from pathlib import Path
from typing import Final

from backends.machine.current import current_platform

_MAX_SHARE: Final = 0.5
"""Of the available memory: what is read must not push out what the last model's answers need."""


def read_ahead(path: Path) -> None:
    """Ask for a GGUF file, or the weights of an MLX folder; blocking for a moment. What fails is told by the load."""
    with contextlib.suppress(OSError):
        files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
        system = current_platform()
        if sum(file.stat().st_size for file in files) <= _MAX_SHARE * system.memory().available_bytes:
            for file in files:
                system.read_ahead(file)
