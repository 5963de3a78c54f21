"""Transactions, and several processes at one catalogue."""

import contextlib
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.errors import (
    RegistryBusyError,
)
from registry.facts import ArtifactFormat
from registry.store import Registry
from tests.registry.catalogue_builder import make_draft
from tests.registry.scan_steps import names
from tests.support.processes import ending
from tests.support.waiting import WITHIN_S

MLX = ArtifactFormat.MLX
PROJECT = Path(__file__).parents[3]


def test_an_error_undoes_the_whole_transaction(store: Registry) -> None:

    def fail_halfway() -> None:
        with store.write():
            store.artifacts.add(make_draft("/m/a.gguf"))
            raise KeyError

    with pytest.raises(KeyError):
        fail_halfway()
    assert names(store) == []
    store.artifacts.add(make_draft("/m/a.gguf"))
    assert names(store) == ["m"]


def test_data_version_changes_with_the_writes_of_others_only(store: Registry) -> None:
    before = store.data_version
    store.artifacts.add(make_draft("/m/a.gguf"))
    assert store.data_version == before
    with Registry(store.path) as other:
        other.models.touch_last_used("m")
    assert store.data_version != before


def test_reading_goes_on_while_another_process_writes(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf"))
    with Registry(store.path, busy_timeout_s=0) as other, store.write():
        store.models.change_settings("m", {"engine": "mlx"})
        assert other.models.get("m").engine is None
        with Registry(store.path, is_read_only=True) as reader:
            assert [model.name for model in reader.models.list()] == ["m"]
        with pytest.raises(RegistryBusyError, match="try again"):
            other.models.change_settings("m", {"engine": "auto"})
    assert store.models.get("m").engine == "mlx"


def test_a_waiting_writer_gets_its_turn(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf"))
    has_lock, is_waiting = threading.Event(), threading.Event()

    def hold() -> None:
        with Registry(store.path) as other, other.write():
            other.models.touch_last_used("m")
            has_lock.set()
            is_waiting.wait(WITHIN_S)

    thread = threading.Thread(target=hold)
    thread.start()
    assert has_lock.wait(WITHIN_S)
    is_waiting.set()
    store.models.change_settings("m", {"engine": "mlx"})
    thread.join()
    model = store.models.get("m")
    assert model.engine == "mlx"
    assert model.last_used_at is not None


WRITER = f"""
import sys
sys.path[:0] = [{str(PROJECT)!r}, {str(Path(__file__).parent)!r}]
from tests.registry.catalogue_builder import make_draft, make_facts
from registry.settings import ModelSettings
from registry.store import Registry
from registry.facts import ArtifactFormat
with Registry(sys.argv[1], busy_timeout_s={WITHIN_S}) as store:
    for index in range(int(sys.argv[3])):
        name = f"{{sys.argv[2]}}-{{index}}"
        with store.write():
            store.artifacts.add(make_draft(f"/{{name}}/a.gguf", name=name))
            store.artifacts.add(make_draft(f"/{{name}}/mlx", name=name, facts=make_facts(ArtifactFormat.MLX)))
        print(name, flush=True)
"""


StartWriter = Callable[[Path, str, int], "subprocess.Popen[str]"]


@pytest.fixture
def start_writer() -> Iterator[StartWriter]:
    with contextlib.ExitStack() as ends:

        def start(path: Path, prefix: str, count: int) -> "subprocess.Popen[str]":
            argv = [sys.executable, "-c", WRITER, str(path), prefix, str(count)]
            return ends.enter_context(ending(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)))

        yield start


def test_two_processes_write_at_once(store: Registry, start_writer: StartWriter) -> None:
    writers = [start_writer(store.path, prefix, 40) for prefix in ("a", "b")]
    for writer in writers:
        out, _ = writer.communicate(timeout=WITHIN_S)
        assert writer.returncode == 0
        assert len(out.split()) == 40
    models = store.models.list()
    assert len(models) == 80
    assert all(model.engines == ("llamacpp", "mlx") for model in models)


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(tmp_path: Path, start_writer: StartWriter) -> None:
    rng = random.Random(20_261_121)
    for round_number in range(6):
        path = tmp_path / f"{round_number}.sqlite3"
        writer = start_writer(path, "k", 100_000)
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(rng.randrange(1, 60))]
        writer.send_signal(signal.SIGKILL)
        acknowledged += writer.stdout.read().split()
        writer.wait()
        with Registry(path) as store:
            models = store.models.list()
            found = {model.name for model in models}
            # The last line may be cut in the pipe, but then it is no name that counts.
            assert {name for name in acknowledged if re.fullmatch(r"k-\d+", name)} <= found | {acknowledged[-1]}
            assert all(model.engines == ("llamacpp", "mlx") for model in models), "half a transaction"
            store.models.change_settings(models[0].name, {"engine": "mlx"})


def test_processes_that_start_together_migrate_once(tmp_path: Path, start_writer: StartWriter) -> None:
    path = tmp_path / "r.sqlite3"
    writers = [start_writer(path, prefix, 1) for prefix in ("a", "b", "c")]
    for writer in writers:
        writer.communicate(timeout=WITHIN_S)
        assert writer.returncode == 0
    with Registry(path) as store:
        assert names(store) == ["a-0", "b-0", "c-0"]
