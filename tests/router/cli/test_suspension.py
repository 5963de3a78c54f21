import json

from tests.router.cli.conftest import Mlxr
from tests.router.cli.stub_gateway import StubGateway

MODEL = {"model": "m", "engine": "mlx"}


def test_suspend_and_resume_say_what_they_did(mlxr: Mlxr, stub: StubGateway) -> None:
    suspended = {"suspended": True, "unloaded": [MODEL], "freed_bytes": 350_000_000}
    stub.answers["/v1/mlxr/suspend"] = (200, json.dumps(suspended))
    assert mlxr("suspend").out == (
        "Suspended: m (mlx) unloaded; 350.0 MB freed. `mlxr resume` or a request loads it again.\n"
    )
    assert json.loads(mlxr("suspend", "--json").out) == suspended
    stub.answers["/v1/mlxr/resume"] = (200, json.dumps({"resumed": True, "loading": [MODEL]}))
    assert mlxr("resume").out == "Resumed; m (mlx) is being loaded.\n"
    stub.answers["/v1/mlxr/resume"] = (200, json.dumps({"resumed": False, "loading": []}))
    assert mlxr("resume").out == "The server was not suspended.\n"
