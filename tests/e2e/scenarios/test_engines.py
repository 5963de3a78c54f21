"""What a scenario checks of caches holds on the real engines, with a tiny model whose answers are no words."""

import json

import pytest

from router.cli.app import main
from tests.support.gateway_process import GatewayProcess

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
def test_a_conversation_is_computed_once_on_a_real_engine(
    engine: str,
    tooled_gateway: GatewayProcess,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLXR_HOME", str(tooled_gateway.home))
    code = main(["scenario", "run", "multi-turn", "--model", f"tooled@{engine}", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert [check for check in document["checks"] if not check["holds"]] == []
    assert code == 0
