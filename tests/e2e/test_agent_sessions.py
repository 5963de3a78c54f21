"""An agent's long beginning is computed once: for its turns, its next sessions, after a restart and after a flip."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.support import tiny_model
from tests.support.agent_session import AgentSession
from tests.support.gateway_process import GatewayProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

CONTEXT_LENGTH = 32_768
SYSTEM_CHARS = 4_000
NUM_TURNS = 5
MODEL = "agent"
CUT_TOKENS = 24
"""The template's last words and the answer, which the history has otherwise."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agent")
    options: dict[str, Any] = {"chat_template": tiny_model.TOOL_TEMPLATE, "context_length": CONTEXT_LENGTH}
    paths = Paths.under(folder / "home")
    paths.ensure_folders()
    with Registry(paths.registry_db) as registry:
        register_path(registry, tiny_model.write_gguf(folder / "agent.gguf", **options), name=MODEL)
        register_path(registry, tiny_model.write_mlx(folder / "agent", **options), name=MODEL)
    return folder / "home"


@pytest.fixture
def start(home: Path) -> Iterator[Callable[[], GatewayProcess]]:
    started: list[GatewayProcess] = []

    def start_gateway() -> GatewayProcess:
        started.append(GatewayProcess(home))
        return started[-1]

    yield start_gateway
    for gateway in started:
        gateway.stop()


def ask(gateway: GatewayProcess, engine: str, session: AgentSession) -> tuple[int, int]:
    """Send the session's next request; return the prompt's tokens, and those of them that were cached."""
    answer = gateway.post(
        "/v1/chat/completions",
        {
            "model": f"{MODEL}@{engine}",
            "messages": session.messages,
            "tools": session.tools,
            "max_tokens": 4,
            "temperature": 0,
        },
    )
    assert answer.status_code == 200, answer.text
    usage = answer.json()["usage"]
    return usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]


@pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
def test_an_agents_beginning_is_computed_once(start: Callable[[], GatewayProcess], engine: str) -> None:
    seed = {"llamacpp": 1, "mlx": 2}[engine]
    other = {"llamacpp": "mlx", "mlx": "llamacpp"}[engine]
    gateway, session = start(), AgentSession(seed, 1, system_chars=SYSTEM_CHARS)
    num_before = 0
    for turn in range(NUM_TURNS):
        num_prompt, num_cached = ask(gateway, engine, session)
        assert num_cached >= num_before - CUT_TOKENS if turn else num_cached == 0
        num_before = num_prompt
        session.go_on()
    num_first, num_cached = ask(gateway, engine, AgentSession(seed, 2, system_chars=SYSTEM_CHARS))
    num_system = num_cached
    assert num_first - 200 < num_system < num_first
    wait_until(lambda: gateway.status()["saved_caches"]["num_bytes"] > 0, "it is saved")

    ask(gateway, other, AgentSession(9, 9, system_chars=100))
    assert ask(gateway, engine, AgentSession(seed, 3, system_chars=SYSTEM_CHARS))[1] >= num_system - 2, "after a flip"
    assert gateway.stop() == 0
    again = start()
    assert ask(again, engine, AgentSession(seed, 4, system_chars=SYSTEM_CHARS))[1] >= num_system - 2, "after a restart"
    assert ask(again, engine, session)[1] >= num_system - 2, "of the old session at least this is there"
