import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from registry.engines import EngineSetting
from router.config import Config, load_config
from router.config.edit import write_atomically
from router.config.watch import ConfigWatcher
from router.errors import ConfigError
from tests.support.waiting import WITHIN_S

INTERVAL_S = 0.002


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def touch(path: Path) -> None:
    path.touch()


def remove(path: Path) -> None:
    path.unlink()


class Changes:
    def __init__(self, iterator: AsyncIterator[Config | ConfigError]) -> None:
        self._iterator = iterator

    async def next(self) -> Config | ConfigError:
        return await asyncio.wait_for(anext(self._iterator), timeout=WITHIN_S)

    async def next_config(self) -> Config:
        content = await self.next()
        assert isinstance(content, Config)
        return content

    async def next_error(self) -> str:
        content = await self.next()
        assert isinstance(content, ConfigError)
        return str(content)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "server.yaml"
    write(file, "engine: auto\n")
    return file


@pytest.fixture
async def changes(path: Path) -> AsyncIterator[Changes]:
    watcher = ConfigWatcher(path, current=load_config(path), interval_s=INTERVAL_S)
    async with aclosing(watcher.changes()) as iterator:
        yield Changes(iterator)


async def test_a_plain_write_is_seen(path: Path, changes: Changes) -> None:
    write(path, "engine: mlx\n")
    assert (await changes.next_config()).engine is EngineSetting.MLX


async def test_an_atomic_replacement_is_seen_again_and_again(path: Path, changes: Changes) -> None:
    for engine in (EngineSetting.MLX, EngineSetting.LLAMACPP, EngineSetting.MLX, EngineSetting.AUTO):
        write_atomically(path, f"engine: {engine}\n".encode())
        assert (await changes.next_config()).engine is engine


async def test_a_bad_edit_is_reported_once_and_the_way_back_is_reported_too(path: Path, changes: Changes) -> None:
    write(path, "engine: mxl\n")
    assert "expected one of auto, mlx, llamacpp" in await changes.next_error()
    write(path, "engine: auto\n")
    assert (await changes.next_config()) == Config()


async def test_a_deleted_file_is_reported_and_its_return_is_seen(path: Path, changes: Changes) -> None:
    write(path, "engine: mlx\n")
    await changes.next_config()
    remove(path)
    assert "the file is gone" in await changes.next_error()
    write(path, "engine: llamacpp\n")
    assert (await changes.next_config()).engine is EngineSetting.LLAMACPP


async def test_a_change_between_reading_the_file_and_watching_it_is_seen(path: Path) -> None:
    watcher = ConfigWatcher(path, current=load_config(path), interval_s=INTERVAL_S)
    write(path, "engine: mlx\n")
    async with aclosing(watcher.changes()) as iterator:
        assert (await Changes(iterator).next_config()).engine is EngineSetting.MLX


async def test_a_file_that_appears_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    watcher = ConfigWatcher(path, current=Config(), interval_s=INTERVAL_S)
    async with aclosing(watcher.changes()) as iterator:
        waiting = asyncio.ensure_future(Changes(iterator).next_config())
        write(path, "engine: mlx\n")
        assert (await waiting).engine is EngineSetting.MLX


async def test_an_edit_that_means_the_same_is_no_change(path: Path, changes: Changes) -> None:
    write(path, "# a comment\nengine: auto\n")
    touch(path)
    first = asyncio.ensure_future(changes.next())
    write(path, "engine:   auto\n")
    write_atomically(path, b"engine: mlx\n")
    content = await first
    assert isinstance(content, Config)
    assert content.engine is EngineSetting.MLX


async def test_a_reading_that_is_asked_for_comes_at_once_and_tells_what_is_nothing_new(path: Path) -> None:
    watcher = ConfigWatcher(path, current=load_config(path), interval_s=3600)
    async with aclosing(watcher.changes()) as iterator:
        changes = Changes(iterator)
        watcher.read_now()
        assert await changes.next_config() == Config()
        write(path, "engine: mxl\n")
        for _ in range(2):
            watcher.read_now()
            assert "expected one of auto, mlx, llamacpp" in await changes.next_error()
        write(path, "engine: mlx\n")
        watcher.read_now()
        assert (await changes.next_config()).engine is EngineSetting.MLX
