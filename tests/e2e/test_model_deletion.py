"""DELETE /v1/models/NAME by the unmodified OpenAI client against a real server."""

import shutil
from collections.abc import Callable
from pathlib import Path

import openai
import pytest

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.support.gateway_process import GatewayProcess


def test_a_model_is_deleted_with_the_files_that_are_ours_only(
    home: Path, tiny_gguf: Path, start_gateway: Callable[..., GatewayProcess]
) -> None:
    paths = Paths.under(home)
    ours = Path(shutil.copy(tiny_gguf, paths.models_dir / "ours.gguf"))
    ours.write_bytes(ours.read_bytes() + b"\0" * 4)  # other bytes: not the same artifact
    with Registry(paths.registry_db) as registry:
        register_path(registry, ours, name="org/ours", is_owned=True)
    gateway = start_gateway()
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        client.completions.create(model="tiny", prompt="x", max_tokens=1)
        with pytest.raises(openai.ConflictError) as caught:
            client.models.delete("tiny")
        assert caught.value.code == "model_in_use"
        deleted = client.models.delete("org/ours")
        assert (deleted.id, deleted.deleted) == ("org/ours", True)
        assert not ours.exists()
        assert gateway.post("/v1/mlxr/models/stop", {"model": "tiny"}).status_code == 200
        assert client.models.delete("tiny").deleted
        assert tiny_gguf.exists()
        assert list(client.models.list()) == []
        with pytest.raises(openai.NotFoundError):
            client.models.delete("tiny")
