"""A changed config file, what needs a restart, and what the gateway survives."""

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import cast

import msgspec
import pytest

from registry.engines import EngineSetting
from registry.store import Registry
from router import gateway
from router.config import Config, CurrentConfig, LimitsConfig, LoggingConfig, LogLevel, ModelsConfig, ServerConfig
from router.errors import UnavailableError
from router.jobs.pulls import PullAccess, Pulls
from router.workers.supervisor import Supervisor


class Refreshed:
    """What is asked of a supervisor when a config comes into force."""

    num_times = 0

    def refresh(self) -> None:
        self.num_times += 1


def apply(config: Config) -> tuple[CurrentConfig, Refreshed]:
    current, supervisor = CurrentConfig(Config()), Refreshed()
    gateway._apply(current, cast("Supervisor", supervisor), config)
    return current, supervisor


def test_engine_and_limits_are_in_force_at_once() -> None:
    changed = Config(engine=EngineSetting.MLX, limits=LimitsConfig(max_queue=3))
    current, supervisor = apply(changed)
    assert current.config == changed
    assert supervisor.num_times == 1


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("server", ServerConfig(port=1)),
        ("models", ModelsConfig(hf_cache=False)),
        ("logging", LoggingConfig(level=LogLevel.DEBUG)),
    ],
)
def test_what_is_read_at_the_start_only_is_named(section: str, value: object, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        apply(msgspec.structs.replace(Config(), **{section: value}))
    assert [record.getMessage() for record in caplog.records] == [
        f"changes under {section}: take effect after a restart"
    ]


def test_a_defect_in_pulls_ends_pulls_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    class BrokenPulls:
        async def resume_interrupted(self) -> None:
            raise ExceptionGroup("pulls", [ValueError("a defect")])

    pulls = PullAccess()
    opening = contextlib.nullcontext(cast("Pulls", BrokenPulls()))
    asyncio.run(gateway._outlived("pulls", pulls.run(opening)))
    with pytest.raises(UnavailableError):
        pulls.get()
    assert "a defect has ended pulls; restart mlxr" in caplog.text


def test_a_registry_that_cannot_be_read_is_a_reason_not_to_be_ready(tmp_path: Path) -> None:
    with Registry(tmp_path / "registry.sqlite3") as registry:
        assert gateway._registry_fault(registry) is None
    fault = str(gateway._registry_fault(registry))
    assert fault.startswith("The model registry cannot be read")
    assert str(tmp_path) not in fault, "which anybody may ask"
