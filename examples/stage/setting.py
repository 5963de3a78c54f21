"""Setting the stage: the model is chosen, what the scenario needs is looked at, workers are started. Then it can run.

Not here: which needs there are and what is said of them (`needs.py`).
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from examples.stage.needs import MissingError, chosen_model
from examples.stage.scenario import Scenario, Stage, Teller
from examples.stage.server import Server
from examples.stage.workers import started_workers
from router.cli.client.batches import BatchClient


def stage_for(
    scenario: Scenario,
    client: BatchClient,
    teller: Teller,
    *,
    model: str | None,
    num_workers: int | None,
    given: Path | None = None,
    seed: int = 0,
) -> Stage:
    """Return a stage on which everything is that a scenario needs.

    Args:
        model: As the user named it; None = one is chosen.
        num_workers: As the user wants it; None = as many as the scenario needs.

    Raises:
        MissingError: Something is not here.
        ClientError: The server cannot be asked, or not load the model.
    """
    loaded = [each.model for each in client.status().workers if each.model is not None]
    needs = scenario.needs
    name = chosen_model(Server(client, "").models(), loaded, model, needs)
    least = needs.num_workers
    if least is not None and num_workers is not None and num_workers < least:
        raise MissingError(f"it is about {least} workers, and --workers says {num_workers}.")
    wanted = num_workers or least
    if needs.as_set:
        server, wanted = Server(client, name), _as_many_as_set(client, name, wanted)
    else:
        server = Server(client, name, None if wanted is None else f"workers={wanted}")
    workers = [] if wanted is None else started_workers(server, wanted)
    what = "" if not workers else ", " + ", ".join(f"worker {each.id} (PID {each.pid})" for each in workers)
    teller.say(f"{scenario.name} on {name}{what}")
    teller.say("")
    return Stage(server, teller, model=name, workers=workers, seed=seed, given=given)


def _as_many_as_set(client: BatchClient, name: str, wanted: int | None) -> int:
    """Return how many workers the model is set to have.

    Raises:
        MissingError: Fewer than are wanted.
    """
    model = name.partition("@")[0]
    answer = client.get(f"/v1/mlxr/models/settings?model={quote(model, safe='')}", dict[str, Any])
    row = next(row for row in answer["settings"] if row["key"] == "workers")
    num_set = int(row["value"] or row["otherwise"] or 1)
    if wanted is not None and wanted > num_set:
        raise MissingError(
            f"lines of a batch load a model as it is set, and {model} is set to {num_set} of {wanted} workers; "
            f"`mlxr models set {model} workers={wanted}` sets it, `workers=` takes that away again."
        )
    return num_set
