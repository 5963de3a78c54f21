"""A changed config file, what needs a restart, and what the gateway survives."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from registry.engines import EngineSetting
from router import gateway
from router.config import Config, LimitsConfig, LoggingConfig, LogLevel, ModelsConfig, ServerConfig
from router.services import Services


def services_with(config: Config) -> Any:
    taken: list[Config] = []
    supervisor = SimpleNamespace(set_config=taken.append, taken=taken)
    return SimpleNamespace(config=config, models=SimpleNamespace(engine_setting=config.engine), supervisor=supervisor)


def test_engine_and_limits_are_in_force_at_once() -> None:
    services = services_with(Config())
    changed = Config(engine=EngineSetting.MLX, limits=LimitsConfig(max_queue=3))
    gateway._apply(cast("Services", services), changed)
    assert services.models.engine_setting is EngineSetting.MLX
    assert services.supervisor.taken == [changed]
    assert services.config == changed


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
        async def run(self) -> None:
            raise ExceptionGroup("pulls", [ValueError("a defect")])

    services = services_with(Config())
    services.pulls = BrokenPulls()
    asyncio.run(gateway._outlived("pulls", gateway._run_pulls(cast("Services", services))))
    assert services.pulls is None
    assert "a defect has ended pulls; restart mlxr" in caplog.text
