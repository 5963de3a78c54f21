"""How llama.cpp is compiled by the set-up: which version, with what, and what is said of it meanwhile."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_llama", ROOT / "scripts" / "build_llama.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_the_locks_version_and_hashes_are_those_that_are_built(script: ModuleType, lock: str) -> None:
    lines = script.locked_requirement((ROOT / lock).read_text()).splitlines()
    assert lines[0].startswith("llama-cpp-python==")
    assert lines[0].split()[0] == f"llama-cpp-python=={script.version_of(chr(10).join(lines))}"
    assert len(lines) > 1
    assert all(line.strip().startswith("--hash=sha256:") for line in lines[1:])


@pytest.mark.parametrize(
    ("num_cores", "memory_gib", "expected"), [(2, 24, 2), (10, 4, 4), (8, 0.5, 1), (1, 64, 1), (16, 16, 16)]
)
def test_files_compiled_at_a_time_are_bounded_by_cores_and_memory(
    script: ModuleType, num_cores: int, memory_gib: float, expected: int
) -> None:
    assert script.num_jobs(num_cores, int(memory_gib * (1 << 30))) == expected
    assert script.free_memory_bytes() > 0


def test_what_the_user_says_of_the_build_stays(script: ModuleType) -> None:
    own = script.build_environment({"CMAKE_ARGS": "-DGGML_NATIVE=OFF", "CMAKE_BUILD_PARALLEL_LEVEL": "3", "A": "b"})
    assert own["CMAKE_ARGS"].endswith("llama_libraries.cmake -DGGML_NATIVE=OFF")
    assert (own["CMAKE_BUILD_PARALLEL_LEVEL"], own["A"]) == ("3", "b")
    assert int(script.build_environment({})["CMAKE_BUILD_PARALLEL_LEVEL"]) >= 1


def test_a_terminal_is_told_each_step_in_place(script: ModuleType) -> None:
    watch = script.Watch(is_terminal=True, now=100.0)
    assert watch.take("  Preparing metadata", 101.0) == ""
    assert watch.take("  [12/130] /usr/bin/c++ -o x.o", 165.0) == "\rsetup: compiling llama.cpp [12/130] 1:05\x1b[K"


def test_a_log_is_told_once_a_minute(script: ModuleType) -> None:
    watch = script.Watch(is_terminal=False, now=0.0)
    said = [watch.take(f"  [{second}/300] c++", float(second)) for second in range(300)]
    assert [line for line in said if line] == [
        f"setup: compiling llama.cpp [{60 * n}/300] {n}:00\n" for n in range(1, 5)
    ]


@pytest.mark.slow
def test_what_was_made_is_kept_for_other_checkouts_and_not_for_another_way_of_making(
    script: ModuleType, tmp_path: Path
) -> None:
    kept = script.kept_wheel("llama-cpp-python==1", {}, tmp_path)
    assert kept == script.kept_wheel("llama-cpp-python==1", {"HOME": "/other"}, tmp_path)
    assert kept != script.kept_wheel("llama-cpp-python==2", {}, tmp_path)
    assert kept != script.kept_wheel("llama-cpp-python==1", {"CMAKE_ARGS": "-DGGML_NATIVE=OFF"}, tmp_path)
