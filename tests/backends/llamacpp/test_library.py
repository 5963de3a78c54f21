"""The proof that nothing left the CPU: what the library's log names, in the words of CPU and of Metal builds."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backends.errors import LoadError
from backends.llamacpp.engine import LlamaCppEngine
from backends.llamacpp.library import LibraryLog, cpu_features
from backends.wire.load import LoadSpec
from tests.backends.conftest import EngineUnderTest
from tests.support.bare_engine import engine_of

INFO, WARN, ERROR, DEBUG = 2, 3, 4, 1
CPU_LINES = [
    (DEBUG, "load_tensors: layer   0 assigned to device CPU, is_swa = 0\n"),
    (INFO, "load_tensors:   CPU_Mapped model buffer size =    93.54 MiB\n"),
    (INFO, "load_tensors:   CPU_REPACK model buffer size =    61.00 MiB\n"),
    (INFO, "llama_kv_cache:        CPU KV buffer size =    45.00 MiB\n"),
    (INFO, "llama_context:        CPU  output buffer size =     1.50 MiB\n"),
    (INFO, "sched_reserve:        CPU compute buffer size =    98.25 MiB\n"),
    (INFO, "llama_model_loader: - kv   3: general.size_label str = 135M\n"),
]
METAL_LINES = [
    ("load_tensors: layer   0 assigned to device Metal, is_swa = 0\n", "Metal"),
    ("load_tensors: layer  12 assigned to device MTL0, is_swa = 1\n", "MTL0"),
    ("load_tensors: Metal_Mapped model buffer size =    98.00 MiB\n", "Metal_Mapped"),
    ("llama_kv_cache:      Metal KV buffer size =    45.00 MiB\n", "Metal"),
    ("llama_memory_recurrent:      Metal RS buffer size =     4.50 MiB\n", "Metal"),
    ("llama_context:      Metal compute buffer size =    98.25 MiB\n", "Metal"),
    ("load_tensors:        CUDA0 model buffer size =    98.00 MiB\n", "CUDA0"),
]


def log_of(lines: list[tuple[int, str]]) -> LibraryLog:
    log = LibraryLog()
    for level, line in lines:
        log._on_log(level, line.encode(), None)
    return log


def test_a_cpu_load_names_only_cpu_buffers() -> None:
    log = log_of(CPU_LINES)
    assert log.devices == {"CPU", "CPU_Mapped", "CPU_REPACK"}
    assert log.foreign_devices == []


@pytest.mark.parametrize(("line", "device"), METAL_LINES)
@pytest.mark.parametrize("level", [DEBUG, INFO, WARN])
def test_one_foreign_layer_or_buffer_is_noticed(line: str, device: str, level: int) -> None:
    log = log_of([*CPU_LINES, (level, line)])
    assert log.foreign_devices == [device]


def test_the_last_warnings_are_kept_and_progress_dots_are_not() -> None:
    log = log_of([(ERROR, f"error {number}\n") for number in range(50)] + [(5, ".")] * 50 + [(INFO, "fine\n")])
    assert log.words.endswith("error 48; error 49")
    assert "error 30" not in log.words
    assert "fine" not in log.words


def test_undecodable_and_endless_lines_do_no_harm() -> None:
    log = LibraryLog()
    log._on_log(ERROR, b"\xff" * 100_000, None)
    log._on_log(ERROR, None, None)
    assert 0 < len(log.words) < 1000


def test_reset_forgets() -> None:
    log = log_of([*CPU_LINES, (ERROR, "bad\n")])
    log.reset()
    assert (log.words, log.devices) == ("", set())


def test_a_real_load_is_on_the_cpu_only(loaded_engines: Callable[[str], EngineUnderTest]) -> None:
    devices = loaded_engines("llamacpp").model.devices
    assert "CPU" in devices
    assert all(device.startswith("CPU") for device in devices)


def test_a_load_is_heard_although_another_took_the_librarys_log(tiny_gguf: Path) -> None:
    quiet = LibraryLog()
    engine = engine_of("llamacpp")
    quiet.listen()
    loaded = engine.load(LoadSpec(model_path=str(tiny_gguf), context_length=64), lambda _fraction: None)
    try:
        assert "CPU" in loaded.model.devices
        assert quiet.devices == set()
    finally:
        loaded.close()


def test_a_load_that_leaves_the_cpu_fails(tiny_gguf: Path) -> None:
    """A line of a Metal build, spoken in the middle of a real load."""
    engine = engine_of("llamacpp")
    assert isinstance(engine, LlamaCppEngine)

    def report(_fraction: float) -> None:
        engine._log._on_log(INFO, METAL_LINES[3][0].encode(), None)

    with pytest.raises(LoadError, match="Metal"):
        engine.load(LoadSpec(model_path=str(tiny_gguf), context_length=64), report)
    engine._log.reset()  # it is the process's: other models' towers would be taken for Metal's


def test_an_engine_outlives_those_that_came_after_it(tiny_gguf: Path) -> None:
    """The library has one log; it goes on being called when the engine that listened last is gone."""
    script = (
        "import gc, sys\n"
        "from backends.engines import create_engine\n"
        "from backends.wire.messages import LoadSpec\n"
        "from tests.support.engine_driver import GREEDY, EngineDriver\n"
        "def load():\n"
        "    engine = create_engine('llamacpp')\n"
        "    engine.info()\n"
        "    spec = LoadSpec(model_path=sys.argv[1], context_length=256, max_sequences=4, num_threads=1)\n"
        "    return engine.load(spec, lambda _share: None)\n"
        "engine = load()\n"
        "later = load()\n"
        "later.close()\n"
        "del later\n"
        "gc.collect()\n"
        "driver = EngineDriver(engine)\n"
        "for length in range(20):\n"
        "    driver.answer('abc' * length, GREEDY, max_tokens=8)\n"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", script, str(tiny_gguf)], cwd=root, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_no_gpu_is_opened_whatever_the_environment_says() -> None:
    """Builds for macOS open it, compile its kernels and start a thread for it before any model is loaded."""
    code = "import os, backends.llamacpp.library; print(os.environ['GGML_METAL_DEVICES'])"
    root = Path(__file__).parents[3]
    environment = os.environ | {"GGML_METAL_DEVICES": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout == "0\n"


@pytest.mark.parametrize(
    "text",
    [
        "CPU : NEON = 1 | ARM_FMA = 1 | ACCELERATE = 1 | ",
        "MTL : EMBED_LIBRARY = 1 | CPU : NEON = 1 | ARM_FMA = 1 | ACCELERATE = 1 | ",
    ],
)
def test_the_features_are_those_of_the_cpu(text: str) -> None:
    assert cpu_features(text) == "CPU : NEON = 1 | ARM_FMA = 1 | ACCELERATE = 1"
