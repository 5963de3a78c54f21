"""Names of models elsewhere: what a user may ask to pull, and which names from a hub are safe to use.

Not here: whether anything has such a name, and the names of models in the catalogue (`names.py`).

    reference = ["hf.co/"] ORG "/" REPO [":" QUANT | "/" FILE] ["@" REVISION]
              | "https://" HOST "/" ... ".gguf"
              | "ollama://" [NAMESPACE "/"] MODEL [":" TAG]
              | a path that starts with "/", "./" or "../"

A hub is a stranger: the names in its answers go through the same checks as what users type.

Source of Ollama's names: ollama, `types/model/name.go` (the parts of a name and their defaults).
"""

import re
import unicodedata
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from registry.credentials import without_credentials
from registry.errors import InvalidModelNameError, InvalidReferenceError
from registry.names import check_model_name

MAX_REFERENCE_CHARS: Final = 2_048
MAX_PATH_CHARS: Final = 512
MAX_SEGMENT_BYTES: Final = 255
"""Longest file name of the usual file systems."""

OLLAMA_SCHEME: Final = "ollama://"

_REPO_PART: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_REPO: Final = re.compile(rf"{_REPO_PART}/{_REPO_PART}", re.ASCII)
_REVISION: Final = re.compile(r"[A-Za-z0-9_][\w.\-/]{0,99}", re.ASCII)
_QUANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", re.ASCII)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HUB_HOSTS: Final = ("https://huggingface.co/", "https://hf.co/", "huggingface.co/", "hf.co/")
_HUB_PAGE: Final = re.compile(r"(?P<repo>[^/]+/[^/]+)/(?:resolve|blob)/(?P<revision>[^/]+)/(?P<file>[^?]+)(?:\?.*)?")
_OLLAMA_NAMESPACE: Final = "library"
_OLLAMA_TAG: Final = "latest"
_OLLAMA_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}", re.ASCII)
_OLLAMA_HOSTS: Final = ("registry.ollama.ai/", "ollama.com/", "www.ollama.com/")
"""The public registry under its several names; another one is set in the config, not in a name."""
_GRAMMAR: Final = "ORG/REPO[:QUANT|/FILE][@REVISION], https://HOST/FILE.gguf, ollama://MODEL[:TAG] or a local path"


class HubReference(msgspec.Struct, frozen=True, kw_only=True, tag="hub"):
    """A repository of the hub, or a part of it.

    Attributes:
        repo: `ORG/REPO`.
        quant: The quantization of a GGUF repository, as typed.
        revision: Branch, tag or commit; None is the default branch.
    """

    repo: str
    quant: str | None = None
    file: str | None = None
    revision: str | None = None


class UrlReference(msgspec.Struct, frozen=True, kw_only=True, tag="url"):
    """A GGUF file on some web server."""

    url: str
    file_name: str


class LocalReference(msgspec.Struct, frozen=True, kw_only=True, tag="local"):
    """A file or folder on this machine."""

    path: str


class OllamaReference(msgspec.Struct, frozen=True, kw_only=True, tag="ollama"):
    """A model of an Ollama registry. The parts are safe as names of folders and in addresses.

    Attributes:
        namespace: Who publishes it; `library` for Ollama's own.
        model: Without a tag, as typed.
        tag: As typed; `latest` without one.
    """

    namespace: str
    model: str
    tag: str

    @property
    def repository(self) -> str:
        """`NAMESPACE/MODEL`, as addresses have it."""
        return f"{self.namespace}/{self.model}"

    @property
    def name(self) -> str:
        """The model's name in the catalogue."""
        own = f"{self.model}:{self.tag}".lower()
        return own if self.namespace == _OLLAMA_NAMESPACE else f"{self.namespace.lower()}/{own}"


PullReference = HubReference | UrlReference | LocalReference | OllamaReference


def parse_pull_reference(text: str) -> PullReference:
    """Take apart what a user asks to pull.

    Args:
        text: E.g. `ORG/REPO:Q4_K_M`, `hf.co/ORG/REPO`, `https://HOST/x.gguf`, `ollama://qwen3:0.6b`, `./x.gguf`.

    Raises:
        InvalidReferenceError: It means nothing, or is not safe.
    """
    shown = ascii(without_credentials(text)[:80])
    if not text or len(text) > MAX_REFERENCE_CHARS:
        raise InvalidReferenceError(f"A model to pull has 1 to {MAX_REFERENCE_CHARS} characters; this has {len(text)}.")
    if has_unprintable(text):
        raise InvalidReferenceError(f"{shown} has control characters or broken text in it; write {_GRAMMAR}.")
    if text.startswith(("/", "./", "../")):
        return LocalReference(path=text)
    if text.lower().startswith(OLLAMA_SCHEME):
        return parse_ollama_name(text[len(OLLAMA_SCHEME) :])
    prefix = next((host for host in _HUB_HOSTS if text.lower().startswith(host)), None)
    if prefix is not None:
        return _parse_hub(text[len(prefix) :], shown)
    return _parse_url(text, shown) if "://" in text else _parse_hub(text, shown)


def _parse_hub(text: str, shown: str) -> HubReference:
    page = _HUB_PAGE.fullmatch(text)
    quant: str | None = None
    if page is not None:
        repo, file, revision = page["repo"], unquote(page["file"]), unquote(page["revision"])
    else:
        head, at, tail = text.rpartition("@")
        named, revision = (head, tail) if at else (text, "")
        repo, colon, after = named.partition(":")
        quant = after if colon else None
        parts = repo.split("/", 2)
        repo, file = "/".join(parts[:2]), parts[2] if len(parts) > 2 else ""  # noqa: PLR2004 - ORG, REPO and the rest
        if at and not revision:
            raise InvalidReferenceError(
                f"{shown} ends in '@'; write a branch, tag or commit behind it, or leave it out."
            )
    if not is_repo_id(repo):
        raise InvalidReferenceError(f"{shown}: {repo[:80]!a} is no repository name; write {_GRAMMAR}.")
    if quant is not None and (file or _QUANT.fullmatch(quant) is None):
        raise InvalidReferenceError(f"{shown}: behind ':' stands one quantization, e.g. ':Q4_K_M', and no file.")
    if file and (problem := path_problem(file)) is not None:
        raise InvalidReferenceError(f"{shown}: the file's name {problem}.")
    if revision and not is_revision(revision):
        raise InvalidReferenceError(f"{shown}: {revision[:80]!a} is no branch, tag or commit.")
    return HubReference(repo=repo, quant=quant, file=file or None, revision=revision or None)


def _parse_url(text: str, shown: str) -> UrlReference:
    try:
        parts = urlsplit(text)
        has_port = parts.port is None or parts.port > 0
    except ValueError as exc:
        raise InvalidReferenceError(f"{shown} is no URL: its host or port is none.") from exc
    if parts.scheme not in {"https", "http"} or not parts.hostname or not has_port or not text.isascii():
        raise InvalidReferenceError(f"{shown} is no address that can be pulled from; write https://HOST/FILE.gguf.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise InvalidReferenceError(f"{shown} has a user, a password or a fragment in it; leave them out.")
    name = unquote(parts.path).rpartition("/")[2]
    if path_problem(name) is not None or name.startswith(".") or not name.lower().endswith(".gguf"):
        raise InvalidReferenceError(f"{shown} is no .gguf file; only those are pulled from a plain URL.")
    return UrlReference(url=text, file_name=name)


def parse_ollama_name(text: str) -> OllamaReference:
    """Take a name in an Ollama registry apart, `[NAMESPACE/]MODEL[:TAG]`.

    Args:
        text: E.g. `smollm2:135m`, `user/model`, `ollama.com/library/qwen3:0.6b`.

    Raises:
        InvalidReferenceError: It is no such name.
    """
    shown = ascii(text[:80])
    named = text.removeprefix("https://")
    host = next((host for host in _OLLAMA_HOSTS if named.lower().startswith(host)), "")
    path, colon, tag = named[len(host) :].partition(":")
    namespace, slash, model = path.rpartition("/")
    if "/" in namespace:
        raise InvalidReferenceError(
            f"{shown} is no model of the Ollama registry: write [NAMESPACE/]MODEL[:TAG], or hf.co/ORG/REPO[:QUANT] for "
            "one of the hub. Another registry is set by hub.ollama_registry in the config."
        )
    reference = OllamaReference(
        namespace=namespace if slash else _OLLAMA_NAMESPACE, model=model, tag=tag if colon else _OLLAMA_TAG
    )
    parts = [reference.namespace, reference.model, reference.tag]
    if any(_OLLAMA_PART.fullmatch(part) is None or ".." in part for part in parts):
        raise InvalidReferenceError(f"{shown} is no model's name; write [NAMESPACE/]MODEL[:TAG], e.g. smollm2:135m.")
    try:
        check_model_name(reference.name)
    except InvalidModelNameError as exc:
        raise InvalidReferenceError(f"{shown} cannot be used here: {exc}") from exc
    return reference


def has_unprintable(text: str) -> bool:
    """Tell whether a text has characters that no name needs: control and format characters, halves of pairs."""
    return any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} for char in text)


def path_problem(path: str) -> str | None:
    """Judge the path of a file in a repository, as a user or a hub names it, with `/` between folders.

    Returns:
        What is wrong, to stand behind "the file's name"; None when it is safe below any folder.
    """
    if not path or len(path) > MAX_PATH_CHARS:
        return f"has {len(path)} characters; 1 to {MAX_PATH_CHARS} are allowed"
    if has_unprintable(path) or "\\" in path:
        return "has a control character or a backslash in it"
    segments = path.split("/")
    if any(segment in {"", ".", ".."} or segment != segment.strip() for segment in segments):
        return "is absolute, or has an empty, blank-edged, '.' or '..' part in it"
    if any(len(segment.encode()) > MAX_SEGMENT_BYTES for segment in segments):
        return f"has a part of more than {MAX_SEGMENT_BYTES} bytes"
    return None


def is_repo_id(text: str) -> bool:
    """Tell whether a text is `ORG/REPO`, and safe as two folders' names."""
    return _REPO.fullmatch(text) is not None and ".." not in text


def is_revision(text: str) -> bool:
    """Tell whether a text may be a branch, tag or commit."""
    return _REVISION.fullmatch(text) is not None and ".." not in text and "//" not in text


def is_commit(text: str) -> bool:
    """Tell whether a text is a full commit (or any other git object): 40 hex digits in lower case."""
    return _COMMIT.fullmatch(text) is not None


def is_sha256(text: str) -> bool:
    """Tell whether a text is a SHA-256 in lower-case hex."""
    return _SHA256.fullmatch(text) is not None
