"""Putting upstreams into the config of a server under test."""

from typing import Any

from msgspec.structs import replace

from router.config.upstreams import UpstreamConfig
from tests.support.fake_openai import FakeFront
from tests.support.scripted_upstream import ScriptedUpstream
from tests.support.waiting import until

NAME = "their/big-model"
"""What the scripted upstream's model is called here."""


async def use(front: FakeFront, *upstreams: UpstreamConfig, **keys: Any) -> None:
    """Put upstreams into the config in force, as an edit of the file does, and wait for their lists."""
    current = front.fleet.current_config
    current.take_over(replace(current.config, upstreams=upstreams, **keys))
    front.services.upstreams.follow()
    front.supervisor.refresh()
    made = front.services.upstreams.made
    assert made is not None
    await until(
        lambda: all(each.checked_at is not None or each.circuit.why or each.no_key for each in made),
        "a look at each upstream",
    )


def box(server: ScriptedUpstream, name: str = "box", **keys: Any) -> UpstreamConfig:
    return UpstreamConfig(name=name, url=server.url, **keys)
