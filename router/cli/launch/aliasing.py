"""Names by which a client's own list of models has one: given in the catalogue, which a running server follows.

Not here: that the client is told the model's own name as well (`clients`).
"""

import contextlib

import msgspec

from registry.errors import ModelNotFoundError, RegistryError
from router.cli.launch.applying import Record
from router.cli.launch.offer import Offer
from router.cli.launch.plan import Client
from router.cli.terminal.catalogue import open_registry
from router.cli.terminal.context import CommandError, current_paths


def with_alias(client: Client, record: Record, offer: Offer) -> tuple[Record, Offer]:
    """Give the model a name that the client lists, unless it has one; return both with it.

    Raises:
        CommandError: Another model has that name.
        RegistryError: The name cannot be one, or the catalogue not be written.
    """
    assert client.lists is not None
    offer = msgspec.structs.replace(offer, is_listed=True)
    own = offer.model.partition("@")[0].partition("+")[0]
    wanted = client.lists + own
    with open_registry(current_paths()) as registry:
        model = registry.models.get(own)
        if any(name.lower().startswith(client.lists) for name in (model.name, *model.aliases)):
            return record, offer
        with contextlib.suppress(ModelNotFoundError):
            other = registry.models.get(wanted).name
            way_out = f"`mlxr models alias {model.name} {client.lists}NAME` gives another"
            raise CommandError(f"--alias: {wanted} is a name of {other}; {way_out}.")
        registry.aliases.set(wanted, model.name)
    given = msgspec.structs.replace(record, aliases=(*record.aliases, (wanted, model.name)))
    return given, msgspec.structs.replace(offer, aliases=(*offer.aliases, wanted))


def without_aliases(record: Record) -> list[str]:
    """Take away the names that were given for a client and that their models still have; return those."""
    taken: list[str] = []
    if not record.aliases:
        return taken
    with open_registry(current_paths()) as registry:
        for alias, name in record.aliases:
            with contextlib.suppress(RegistryError):  # the model has gone, and its names with it
                if alias in registry.models.get(name).aliases:
                    registry.aliases.remove(alias)
                    taken.append(alias)
    return taken
