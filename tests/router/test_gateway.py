"""What the gateway survives, and why it is not ready."""

import asyncio
import contextlib
from pathlib import Path
from typing import cast

import pytest

from registry.store import Registry
from router import gateway
from router.errors import UnavailableError
from router.jobs.pulls import PullAccess, Pulls


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
