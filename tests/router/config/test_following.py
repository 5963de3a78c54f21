"""Edits of the file come into force; the command line stays above them, but for the engine."""

import logging
from pathlib import Path

import msgspec
import pytest

from registry.engines import EngineSetting
from router.config import (
    BatchesConfig,
    Config,
    CurrentConfig,
    LimitsConfig,
    LoggingConfig,
    LogLevel,
    ModelsConfig,
    ServerConfig,
)
from router.config.following import ConfigFollower
from router.config.load import Overrides, apply_overrides
from router.errors import ConfigError


def follower(**overrides: object) -> tuple[CurrentConfig, ConfigFollower]:
    given = Overrides(**overrides)  # type: ignore[arg-type]
    current = CurrentConfig(apply_overrides(Config(), given))
    home = Path("/home/a")
    return current, ConfigFollower(current, home / "server.yaml", Config(), given, user_home=home, on_read=lambda: None)


def test_engine_and_limits_are_in_force_at_once() -> None:
    current, following = follower()
    changed = Config(engine=EngineSetting.MLX, limits=LimitsConfig(max_queue=3))
    following.take(changed)
    assert current.config == changed


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("server", ServerConfig(port=1)),
        ("models", ModelsConfig(hf_cache=False)),
        ("logging", LoggingConfig(level=LogLevel.DEBUG)),
        ("batches", BatchesConfig(parallel=3)),
    ],
)
def test_what_is_read_at_the_start_only_is_named(section: str, value: object, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        follower()[1].take(msgspec.structs.replace(Config(), **{section: value}))
    waiting = {"batches": "batches.parallel"}.get(section, section)
    assert [record.getMessage() for record in caplog.records] == [f"changes of {waiting} take effect after a restart"]


def test_the_command_lines_engine_holds_until_somebody_edits_the_engine() -> None:
    current, following = follower(engine=EngineSetting.MLX)
    following.take(Config(limits=LimitsConfig(max_queue=3)))
    assert (current.config.engine, current.config.limits.max_queue) == (EngineSetting.MLX, 3)
    for engine in (EngineSetting.LLAMACPP, EngineSetting.AUTO):
        following.take(Config(engine=engine))
        assert current.config.engine is engine


def test_a_mistake_changes_nothing() -> None:
    current, following = follower()
    before = current.config
    with pytest.raises(ConfigError, match="oops"):
        following.take(ConfigError("oops"))
    assert current.config is before
