"""What is global in the library: initialisation, its log, and the proof that nothing left the CPU."""

import ctypes
import re
from collections import deque
from typing import Final

import llama_cpp

# Source: llama.h, "llama_decode": "0 - success, 1 - could not find a KV slot for the batch, 2 - aborted, < 0 - error".
DECODE_OK: Final = 0
DECODE_NO_SLOT: Final = 1
DECODE_ABORTED: Final = 2
_LEVEL_WARN = 3
_NUM_KEPT_WORDS = 12
_LINE_MAX_CHARS = 300
_BUFFER = re.compile(rb"(\S+)\s+(?:model|KV|RS|LoRA|compute|output)\s+buffer size")
_CACHE_SIZE = re.compile(rb"KV\s+buffer size\s*=\s*([\d.]+) MiB")
_LAYER = re.compile(rb"assigned to device (\S+?),")
_TOWER = re.compile(rb"CLIP using (\S+) backend")
_HEARD: Final[dict[int, object]] = {}
"""Every callback that ever became the library's log, by its identity: it may be called as long as the process lives,
whatever became of the engine that set it. A worker has one."""
CPU_BUFFER_PREFIXES = ("CPU", "AMX")
"""Names of ggml buffer types in ordinary memory: CPU, CPU_Mapped, CPU_REPACK, CPU_AARCH64, AMX.

Source: ggml/src/ggml-cpu, the `get_name` functions of its buffer types.
"""


_METAL_FEATURES: Final = re.compile(r"(?:MTL|Metal) : (?:[A-Z0-9_]+ = \d+ \| )*")


def cpu_features(text: str) -> str:
    """Return what the library says of the system, without the part on a GPU that it is not given.

    Source: llama.cpp, src/llama.cpp, llama_print_system_info: `REGISTRY : NAME = VALUE | NAME = VALUE | ...`.
    """
    return _METAL_FEATURES.sub("", text).strip(" |")


class LibraryLog:
    """Listens to llama.cpp's log: keeps its last warnings, and the names of all devices and buffers it used.

    Attributes:
        cache_bytes: Of all KV caches that were ever made.
    """

    def __init__(self) -> None:
        self._words: deque[str] = deque(maxlen=_NUM_KEPT_WORDS)
        self.devices: set[str] = set()
        self.cache_bytes = 0
        self._callback = llama_cpp.llama_log_callback(self._on_log)

    @property
    def callback(self) -> object:
        """What a library of llama.cpp's calls with its lines; lives as long as the process once this listens."""
        return self._callback

    def listen(self) -> None:
        """Become the library's log, and initialise the library; the library has one log, the last that listened."""
        _HEARD[id(self._callback)] = self._callback
        llama_cpp.llama_log_set(self._callback, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()

    def reset(self) -> None:
        """Forget the words and devices of an earlier load."""
        self._words.clear()
        self.devices.clear()

    @property
    def words(self) -> str:
        """The library's last warnings and errors, oldest first, as one line."""
        return "; ".join(self._words)

    @property
    def foreign_devices(self) -> list[str]:
        """Devices and buffers that are not the CPU's."""
        return sorted(device for device in self.devices if not device.startswith(CPU_BUFFER_PREFIXES))

    def _on_log(self, level: int, text: bytes | None, _user_data: object) -> None:
        if not text:
            return
        if level >= _LEVEL_WARN:
            line = text.decode(errors="replace").strip()
            if len(line) > 1:  # progress dots come as single characters
                self._words.append(line[:_LINE_MAX_CHARS])
        # A load logs thousands of lines, one per tensor: the expressions see only those that they may match.
        if b" buffer size" in text or b"assigned to device" in text or b"CLIP using" in text:
            found = _BUFFER.search(text) or _LAYER.search(text) or _TOWER.search(text)
            if found is not None:
                self.devices.add(found.group(1).decode(errors="replace"))
            size = _CACHE_SIZE.search(text)
            if size is not None:
                self.cache_bytes += round(float(size.group(1)) * (1 << 20))
