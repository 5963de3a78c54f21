import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from router.config.instance import (
    AlreadyRunningError,
    InstanceLock,
    RunningInstance,
    ServerFacts,
    reachable_url,
    read_instance,
)
from router.config.paths import Paths

HOLDER = """
import sys
from pathlib import Path
from router.config.instance import InstanceLock, RunningInstance
from router.config.paths import Paths
lock = InstanceLock.acquire(Paths.under(Path(sys.argv[1])))
lock.publish(RunningInstance(pid=4242, url="http://127.0.0.1:1", version="0", started_at=0.0))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths.under(tmp_path)
    paths.ensure_folders()
    return paths


@pytest.fixture
def instance() -> RunningInstance:
    return RunningInstance(
        pid=os.getpid(), url="http://127.0.0.1:1", unix_socket="/tmp/s", version="1", started_at=2.0, config_file="/c"
    )


def test_nothing_runs_on_a_fresh_folder(tmp_path: Path) -> None:
    assert read_instance(Paths.under(tmp_path / "nowhere")) is None


def test_what_is_published_is_read_back_while_the_lock_is_held(paths: Paths, instance: RunningInstance) -> None:
    with InstanceLock.acquire(paths) as lock:
        assert read_instance(paths) is None, "it is still starting"
        lock.publish(instance)
        assert read_instance(paths) == instance
        assert paths.instance_file.stat().st_mode & 0o777 == 0o600
    assert read_instance(paths) is None
    assert not paths.instance_file.exists()


def test_a_second_gateway_is_refused_with_pid_and_address(
    paths: Paths, instance: RunningInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.config.instance.LOCK_PATIENCE_S", 0.0)
    with InstanceLock.acquire(paths) as lock:
        with pytest.raises(AlreadyRunningError, match=rf"is still starting as process {os.getpid()} and .*`kill \d"):
            InstanceLock.acquire(paths)
        lock.publish(instance)
        with pytest.raises(AlreadyRunningError, match=rf"process {os.getpid()} on http://127.0.0.1:1 ") as caught:
            InstanceLock.acquire(paths)
        assert caught.value.instance == instance
        assert read_instance(paths) == instance, "the refused one left everything as it was"
    InstanceLock.acquire(paths).release()


def test_a_server_that_a_command_started_for_itself_is_named_so(
    paths: Paths, instance: RunningInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.config.instance.LOCK_PATIENCE_S", 0.0)
    with InstanceLock.acquire(paths) as lock:
        lock.publish(msgspec.structs.replace(instance, owner="mlxr bench"))
        with pytest.raises(AlreadyRunningError, match="server, which `mlxr bench` started for itself, runs as process"):
            InstanceLock.acquire(paths)


def test_two_data_folders_have_a_gateway_each(tmp_path: Path, instance: RunningInstance) -> None:
    one, two = Paths.under(tmp_path / "1"), Paths.under(tmp_path / "2")
    one.ensure_folders()
    two.ensure_folders()
    with InstanceLock.acquire(one) as lock, InstanceLock.acquire(two):
        lock.publish(instance)
        assert read_instance(two) is None


def test_a_killed_gateway_leaves_a_file_that_does_not_count(paths: Paths, instance: RunningInstance) -> None:
    argv = [sys.executable, "-P", "-c", HOLDER, str(paths.data_dir.parent)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        found = read_instance(paths)
        assert found is not None
        assert found.pid == 4242
        process.send_signal(signal.SIGKILL)
    assert paths.instance_file.exists()
    assert read_instance(paths) is None
    with InstanceLock.acquire(paths) as lock:
        assert not paths.instance_file.exists()
        lock.publish(instance)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": 1}', b"\xff"])
def test_a_damaged_instance_file_counts_as_none(paths: Paths, content: bytes) -> None:
    with InstanceLock.acquire(paths):
        paths.instance_file.write_bytes(content)
        assert read_instance(paths) is None


def test_looking_does_not_keep_a_gateway_from_starting(paths: Paths, instance: RunningInstance) -> None:
    with InstanceLock.acquire(paths) as lock:
        lock.publish(instance)
        assert all(read_instance(paths) == instance for _ in range(100))
    for _ in range(20):
        paths.instance_file.write_bytes(b"{}")
        read_instance(paths)
        InstanceLock.acquire(paths).release()


def test_releasing_twice_is_allowed(paths: Paths) -> None:
    lock = InstanceLock.acquire(paths)
    lock.release()
    lock.release()
    assert read_instance(paths) is None
    InstanceLock.acquire(paths).release()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://0.0.0.0:1", "http://127.0.0.1:1"),
        ("http://[::]:1", "http://[::1]:1"),
        ("http://[::1]:1", "http://[::1]:1"),
    ],
)
def test_an_address_of_every_interface_becomes_loopback(url: str, expected: str) -> None:
    assert reachable_url(url) == expected


@pytest.mark.parametrize(
    ("url", "names", "asked"),
    [
        ("http://127.0.0.1:1", (), "http://127.0.0.1:1"),
        ("http://0.0.0.0:1", (), "http://127.0.0.1:1"),
        ("http://[::]:1", (), "http://[::1]:1"),
        ("https://127.0.0.1:1", ("box.local", "127.0.0.1"), "https://127.0.0.1:1"),
        ("https://0.0.0.0:1", ("*.local", "box.local"), "https://box.local:1"),
        ("https://[::1]:1", ("::1",), "https://[::1]:1"),
        ("https://127.0.0.1:1", ("::1",), "https://[::1]:1"),
        ("https://127.0.0.1:1", ("*.local",), "https://127.0.0.1:1"),
    ],
)
def test_the_address_to_try_is_one_that_clients_reach_and_the_certificate_is_for(
    url: str, names: tuple[str, ...], asked: str
) -> None:
    facts = ServerFacts("1")
    facts.url, facts.cert_names = url, names
    assert facts.certified_url == asked
