import json
from pathlib import Path

import msgspec

from registry.store import Registry
from router.cli.terminal.server import version_notice
from router.config.instance import InstanceLock, RunningInstance
from router.config.paths import Paths
from router.version import VERSION
from tests.registry.catalogue_builder import make_draft
from tests.router.cli.conftest import Mlxr
from tests.router.cli.stub_gateway import StubGateway


def test_a_copy_is_made_listed_and_put_back(mlxr: Mlxr, paths: Paths, tmp_path: Path) -> None:
    assert mlxr("registry", "backup").exit_code == 1, "there is nothing yet"
    with Registry(paths.registry_db) as registry:
        registry.artifacts.add(make_draft("/m/a.gguf", name="a"))
    assert "There are no copies yet" in mlxr("registry", "backups").out
    copy = json.loads(mlxr("registry", "backup", "--json").out)["path"]
    mine = str(tmp_path / "mine.sqlite3")
    assert mlxr("registry", "backup", mine).out == f"The catalogue is copied to {mine}.\n"
    assert mlxr("registry", "backup", mine).exit_code == 1, "it is there already"
    assert [each["path"] for each in json.loads(mlxr("registry", "backups", "--json").out)] == [copy]
    with Registry(paths.registry_db) as registry:
        registry.artifacts.add(make_draft("/m/b.gguf", name="b"))
    restored = mlxr("registry", "restore", mine)
    assert restored.exit_code == 0, restored.err
    assert "before-restore" in restored.out
    with Registry(paths.registry_db) as registry:
        assert [model.name for model in registry.models.list()] == ["a"]
    assert "yours" in mlxr("registry", "backups").out


def test_nothing_is_restored_under_a_running_server(mlxr: Mlxr, paths: Paths, tmp_path: Path) -> None:
    Registry(paths.registry_db).close()
    mine = str(tmp_path / "mine.sqlite3")
    mlxr("registry", "backup", mine)
    paths.ensure_folders()
    with InstanceLock.acquire(paths) as lock:
        lock.publish(RunningInstance(pid=7, url="http://127.0.0.1:1", version=VERSION, started_at=0.0))
        refused = mlxr("registry", "restore", mine)
    assert refused.exit_code == 1
    assert "in use" in refused.err
    assert "process 7" in refused.err


def test_a_file_that_is_no_copy_is_one_sentence(mlxr: Mlxr, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("no")
    refused = mlxr("registry", "restore", str(tmp_path / "x"))
    assert (refused.exit_code, len(refused.err.splitlines())) == (1, 1)
    assert "is no whole copy" in refused.err


def test_a_server_of_another_version_is_told_in_both_directions(mlxr: Mlxr, stub: StubGateway, paths: Paths) -> None:
    assert mlxr("ps").err == ""
    instance = msgspec.json.decode(paths.instance_file.read_bytes(), type=RunningInstance)
    for version, way_out in (("0.0.9", "restart it"), ("99.0.0", "update this command line")):
        other = msgspec.structs.replace(instance, version=version)
        paths.instance_file.write_bytes(msgspec.json.encode(other))
        told = mlxr("ps")
        assert told.exit_code == 0
        assert told.err.startswith(f"mlxr: The running server is mlxr {version}, this command line is {VERSION}")
        assert way_out in told.err
        assert json.loads(mlxr("ps", "--json").out) == stub.status, "what programs read is as it was"


def test_versions_are_compared_as_numbers() -> None:
    assert "restart it" in version_notice("0.9.1", "0.10.0")
    assert "update this command line" in version_notice("0.10.0", "0.9.1")
