"""How the models of a pull may be called where patterns bound whoever asks. Pure."""

from msgspec.structs import replace

from registry.hub.references import (
    HubReference,
    LocalReference,
    OllamaReference,
    UrlReference,
    parse_pull_reference,
)
from registry.names import derive_name
from registry.pull_record import PullOptions
from router.http.caller import Caller


def bounded(caller: Caller, reference: str, options: PullOptions) -> PullOptions:
    """Return what somebody asks for; with a name, where he may not give every one, so that it is known before.

    Args:
        reference: Valid.

    Raises:
        ModelNameNotAllowedError: His patterns do not know the name.
    """
    if caller.models is None:
        return options
    name = options.name or options.called or name_of(reference)
    caller.check_may_name(name)
    return replace(options, name=name, patterns=caller.models)


def name_of(reference: str) -> str:
    """Return how a model is called that came from somewhere, if nobody gives it another name."""
    match parse_pull_reference(reference):
        case OllamaReference() as model:
            return model.name
        case HubReference(repo=repo, file=file):
            return derive_name(file, repo.rpartition("/")[2])
        case UrlReference(file_name=file_name):
            return derive_name(file_name)
        case LocalReference(path=path):
            return derive_name(path)
