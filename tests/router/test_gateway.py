"""A changed config file, what needs a restart, and what the gateway survives."""

import asyncio
import contextlib
import logging
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from registry.engines import EngineSetting
from router import gateway
from router.config import Config, CurrentConfig, LimitsConfig, LoggingConfig, LogLevel, ModelsConfig, ServerConfig
from router.jobs.pulls import Pulls
from router.services import Services


def services_with(config: Config) -> Any:
    refreshed: list[None] = []
    supervisor = SimpleNamespace(refresh=lambda: refreshed.append(None), refreshed=refreshed)
    return SimpleNamespace(current_config=CurrentConfig(config), supervisor=supervisor)


def test_engine_and_limits_are_in_force_at_once() -> None:
    services = services_with(Config())
    changed = Config(engine=EngineSetting.MLX, limits=LimitsConfig(max_queue=3))
    gateway._apply(cast("Services", services), changed)
    assert services.current_config.config == changed
    assert len(services.supervisor.refreshed) == 1


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("server", ServerConfig(port=1)),
        ("models", ModelsConfig(hf_cache=False)),
        ("logging", LoggingConfig(level=LogLevel.DEBUG)),
    ],
)
def test_what_is_read_at_the_start_only_is_named(section: str, value: object, caplog: pytest.LogCaptureFixture) -> None:
    services = services_with(Config())
    with caplog.at_level(logging.WARNING):
        gateway._apply(cast("Services", services), msgspec.structs.replace(Config(), **{section: value}))
    assert [record.getMessage() for record in caplog.records] == [
        f"changes under {section}: take effect after a restart"
    ]


def test_a_defect_in_pulls_ends_pulls_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    class BrokenPulls:
        async def resume_interrupted(self) -> None:
            raise ExceptionGroup("pulls", [ValueError("a defect")])

    services = services_with(Config())
    opening = contextlib.nullcontext(cast("Pulls", BrokenPulls()))
    asyncio.run(gateway._outlived("pulls", gateway._run_pulls(cast("Services", services), opening)))
    assert services.pulls is None
    assert "a defect has ended pulls; restart mlxr" in caplog.text
