"""`mlxr models create`: a model out of a Modelfile, as Ollama has them; files that it names are opened, here only.

Not here: reading a Modelfile (`router.protocols.ollama.models.modelfile`), and the making (`registry.creating.models`).
"""

from pathlib import Path

from registry.catalogue import Model
from registry.creating.models import create_from_files, create_from_model
from registry.names import parse_shard_name
from registry.store import Registry
from router.cli.models.readiness import readiness
from router.cli.terminal.catalogue import open_registry
from router.cli.terminal.context import CommandError, current_paths, read_config
from router.cli.terminal.options import json_option
from router.cli.terminal.output import print_json
from router.cli.terminal.verbs import argument, option, verb
from router.config.roots import models_dir
from router.errors import InvalidRequestError
from router.protocols.ollama.models.modelfile import Modelfile, parse_modelfile
from router.protocols.ollama.models.recipe import settings_of
from router.protocols.ollama.names import names_to_make, without_host

_PATH_BEGINNINGS = ("/", "./", "../", "~")


@verb
@argument("name", help="Name of the new model.")
@option("--file", "-f", default="Modelfile", metavar="MODELFILE", help="The recipe.")
@json_option()
def create(name: str, file: str, is_json: bool) -> None:
    """Make a model out of another one, or of a GGUF file or an MLX folder, with settings, by a Modelfile.

    A second FROM is the vision projector beside a GGUF file. The bytes are shared with the source where the disk allows
    it. FROM, PARAMETER, SYSTEM, TEMPLATE (in Jinja), MESSAGE and LICENSE count.

    Examples: `mlxr models create mario -f Modelfile`, `mlxr models create mario --json`.
    """
    path = Path(file).expanduser()
    try:
        modelfile = parse_modelfile(_text_of(path))
        names = names_to_make(name)
        settings = settings_of(modelfile)
    except InvalidRequestError as exc:
        raise CommandError(f"{file}: {exc}") from exc
    if modelfile.adapters:
        raise CommandError(
            f"{file}: ADAPTER: register it with `mlxr models adapter add BASE PATH`, and ask for BASE+ADAPTER."
        )
    with open_registry(current_paths()) as registry:
        own_name = next((each for each in names if registry.models.find_exactly(each) is not None), names[-1])
        made = _make(registry, own_name, modelfile, path.absolute().parent, settings)
    if is_json:
        print_json({"name": made.name, "engines": made.engines, "settings": settings})
    else:
        print(readiness(made))


def _make(registry: Registry, name: str, modelfile: Modelfile, folder: Path, settings: dict[str, object]) -> Model:
    paths = current_paths()
    own_folder = models_dir(read_config(paths), paths)
    source = modelfile.source
    near = folder / Path(source).expanduser()
    if source.startswith(_PATH_BEGINNINGS) or (source.lower().endswith(".gguf") and near.exists()):
        projector = [] if modelfile.projector is None else _files_at(folder / Path(modelfile.projector).expanduser())
        return create_from_files(registry, own_folder, name, _files_at(near) + projector, settings)
    if modelfile.projector is not None:
        raise CommandError(f"FROM {modelfile.projector}: a second FROM is the projector beside a GGUF file.")
    return create_from_model(registry, own_folder, name, without_host(source), settings)


def _files_at(path: Path) -> list[tuple[str, Path]]:
    if path.is_dir():
        return [(item.name, item) for item in sorted(path.iterdir()) if item.is_file() and item.name[0] != "."]
    if not path.is_file():
        raise CommandError(f"FROM {path}: there is no such file or folder.")
    shard = parse_shard_name(path.name)
    if shard is None or shard.num_files == 1:
        return [(path.name, path)]
    siblings = ((parse_shard_name(item.name), item) for item in sorted(path.parent.iterdir()))
    return [
        (item.name, item)
        for place, item in siblings
        if place is not None and (place.prefix, place.num_files) == (shard.prefix, shard.num_files)
    ]


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as exc:
        raise CommandError(f"{path}: {exc.strerror or exc}.") from exc
    except UnicodeDecodeError as exc:
        raise CommandError(f"{path}: this is no UTF-8 text.") from exc
