"""What a request to create a model asks for, whichever form it has: a source, and settings. Pure.

Not here: making it (`router.models.making`). Nothing that a client names by a path is ever opened, and whether there is
such a file makes no difference to the answer.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from registry.hub.ollama.parameters import settings_of_parameters
from registry.hub.references import is_sha256, path_problem
from registry.settings import check_settings
from router.errors import InvalidRequestError, MissingFieldError, UnsupportedFieldError
from router.models.chat_templates import check_jinja
from router.protocols.fields.support import refuse_with_hint
from router.protocols.ollama.models.modelfile import Modelfile, parse_modelfile
from router.protocols.ollama.models.schemas import CreateMessage, CreateRequest, RecipeParts

_DIGEST_PREFIX: Final = "sha256:"
_GO_TEMPLATE: Final = re.compile(r"\{\{-?(?:[^{}]*[\s(,])?(?:\.|\$\.?)[A-Za-z]")
"""Fields and variables of Go templates begin with a dot or a dollar; nothing does so in Jinja."""

_PATH: Final = re.compile(r"[./~\\]|[A-Za-z]:\\|.*\.(?:gguf|safetensors|bin)\Z", re.IGNORECASE | re.DOTALL)


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be made.

    Attributes:
        source: A model's name; None when it is made of files.
        files: Name -> SHA-256 in hex, of files that were uploaded.
        settings: Over those of the source; checked.
    """

    source: str | None
    files: tuple[tuple[str, str], ...] = ()
    settings: dict[str, Any]


def recipe_of(request: CreateRequest) -> Recipe:
    """Read a request.

    Raises:
        InvalidRequestError: It contradicts itself, or asks for what cannot be done here.
        InvalidSettingError: A text is too long.
    """
    if request.modelfile is not None and request.source is None and request.files is None:
        request = _from_modelfile(request, parse_modelfile(request.modelfile))
    refuse_with_hint(request)
    files = tuple(_checked_files(request.files or {}))
    if (request.source is None) == (not files):
        raise MissingFieldError("Give either 'from', a model's name, or 'files', names and digests of uploads.", "from")
    if request.source is not None and is_path(request.source):
        raise InvalidRequestError(
            "from: files on the server are not opened for clients. Upload the file with POST /api/blobs/sha256:DIGEST "
            "and name it in 'files', or run `mlxr models create NAME -f Modelfile` on the server's machine.",
            "from",
        )
    return Recipe(source=request.source, files=files, settings=settings_of(request))


def settings_of(parts: RecipeParts) -> dict[str, Any]:
    """Return the parts of a recipe as checked settings. Empty texts count as absent, as in Ollama; errors as above."""
    read = settings_of_parameters(parts.parameters or {})
    for name, problem in read.problems.items():
        raise UnsupportedFieldError(f"parameters.{name}: {problem}", f"parameters.{name}")
    settings = dict(read.settings)
    if parts.template:
        _check_jinja(parts.template)
        settings["template"] = parts.template
    if parts.system:
        settings["system"] = parts.system
    if parts.messages:
        settings["messages"] = [_message(message, index) for index, message in enumerate(parts.messages)]
    licenses = [parts.license] if isinstance(parts.license, str) else parts.license or []
    license_text = "\n\n".join(filter(None, licenses))
    if license_text:
        settings["license"] = license_text
    return check_settings(settings)


def is_path(source: str) -> bool:
    """Tell whether what stands behind FROM means a file and not a model, by its looks alone."""
    return _PATH.match(source) is not None and not source.startswith(("hf.co/", "huggingface.co/"))


def digest_hex(digest: str) -> str:
    """Return the digits of a digest: `sha256:` and 64 hex digits in lower case.

    Raises:
        InvalidRequestError: It is none.
    """
    value = digest.removeprefix(_DIGEST_PREFIX)
    if not digest.startswith(_DIGEST_PREFIX) or not is_sha256(value):
        raise InvalidRequestError("invalid digest format: it is sha256: and 64 hex digits in lower case", "digest")
    return value


def _from_modelfile(request: CreateRequest, modelfile: Modelfile) -> CreateRequest:
    sources = [each.removeprefix("@") for each in (modelfile.source, modelfile.projector) if each is not None]
    is_blob = [each.startswith(_DIGEST_PREFIX) for each in sources]
    if len(sources) > 1 and not all(is_blob):
        raise InvalidRequestError(
            "modelfile: a second FROM is the projector beside an uploaded GGUF file.", "modelfile"
        )
    return msgspec.structs.replace(
        request,
        source=None if is_blob[0] else modelfile.source,
        files=dict(zip(("model.gguf", "mmproj.gguf"), sources, strict=False)) if is_blob[0] else None,
        **{name: getattr(modelfile, name) for name in RecipeParts.__struct_fields__},
    )


def _checked_files(files: Mapping[str, str]) -> list[tuple[str, str]]:
    checked = []
    for name, digest in files.items():
        problem = path_problem(name)
        if problem is None and "/" in name:
            problem = "has a folder in it"
        if problem is not None or name.startswith("."):
            raise InvalidRequestError(f"files: the name {name[:80]!a} {problem or 'is hidden'}.", "files")
        checked.append((name, digest_hex(digest)))
    return checked


def _check_jinja(template: str) -> None:
    if _GO_TEMPLATE.search(template) is not None:
        raise UnsupportedFieldError(
            "template: this is a Go template, which is not rendered here. Leave it out, and the model's own chat "
            "template is used; or give one in Jinja, as in tokenizer_config.json.",
            "template",
        )
    check_jinja(template)


def _message(message: CreateMessage, index: int) -> dict[str, str]:
    if message.images:
        raise UnsupportedFieldError(f"messages[{index}]: only texts can be preset.", f"messages[{index}]")
    return {"role": message.role, "content": message.content}
