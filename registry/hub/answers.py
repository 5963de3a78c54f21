"""What a hub says, and the reading of it: JSON of a stranger in, checked Structs out. No network.

Source: the OpenAPI description of huggingface.co/api, `GET /api/models` and `GET /api/models/{id}`.
"""

import re
from typing import Any, Final, TypeVar

import msgspec

from registry.errors import HubAnswerError
from registry.hub.references import has_unprintable, is_commit, is_repo_id, is_sha256, path_problem

MAX_FILES: Final = 20_000
"""Files of one repository; models have tens, the largest checkpoints some hundreds."""

MAX_FILE_BYTES: Final = 1 << 46
"""64 TiB; sums of these stay exact in every number type on the way."""

MAX_TAG_CHARS: Final = 64

_NEXT_LINK: Final = re.compile(r'<([^<>]{1,4096})>\s*;\s*rel="next"')
_T = TypeVar("_T")


class HubFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a repository.

    Attributes:
        path: In the repository; safe below any folder.
        sha256: Of the content, for large ("LFS") files.
        git_sha1: The git object id of all others.
    """

    path: str
    size_bytes: int
    sha256: str | None = None
    git_sha1: str | None = None


class RepoInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A repository at one commit.

    Attributes:
        repo: `ORG/REPO`, as the hub spells it.
        commit: 40 hex digits.
        tags: What the hub says it is; only short printable ones.
        num_downloads: As the hub counts; None when it does not say.
        is_gated: A licence must be accepted first.
    """

    repo: str
    commit: str
    files: tuple[HubFile, ...]
    tags: tuple[str, ...] = ()
    num_downloads: int | None = None
    is_gated: bool = False


class SearchHit(msgspec.Struct, frozen=True, kw_only=True):
    """A repository that a search found.

    Attributes:
        repo: `ORG/REPO`.
        info: Its files; None when they could not be looked up.
    """

    repo: str
    num_downloads: int | None = None
    tags: tuple[str, ...] = ()
    info: RepoInfo | None = None


class _Lfs(msgspec.Struct):
    sha256: str | None = None
    size: int | None = None


class _Sibling(msgspec.Struct, rename={"path": "rfilename", "blob_id": "blobId"}):
    path: str
    size: int | None = None
    blob_id: str | None = None
    lfs: _Lfs | None = None


class _Model(msgspec.Struct):
    id: str
    sha: str | None = None
    siblings: list[_Sibling] = []
    tags: list[Any] = []
    downloads: int | None = None
    gated: bool | str | None = None


def read_repo_info(body: bytes) -> RepoInfo:
    """Read the answer to a question about one repository; the caller has checked its size.

    Raises:
        HubAnswerError: It is malformed, or has names or numbers that no hub may send.
    """
    model = _decode(body, _Model)
    if not is_repo_id(model.id):
        raise HubAnswerError(f"The hub calls the repository {model.id[:80]!a}, which is no safe name.")
    if model.sha is None or not is_commit(model.sha):
        raise HubAnswerError(f"The hub names no commit of {model.id}, so its files cannot be pinned.")
    if len(model.siblings) > MAX_FILES:
        raise HubAnswerError(f"{model.id} has {len(model.siblings)} files; the limit is {MAX_FILES}.")
    files = tuple(_file(model.id, sibling) for sibling in model.siblings)
    if len({file.path for file in files}) < len(files):
        raise HubAnswerError(f"The hub names a file of {model.id} twice.")
    return RepoInfo(
        repo=model.id,
        commit=model.sha,
        files=files,
        tags=_tags(model.tags),
        num_downloads=_count(model.downloads),
        is_gated=bool(model.gated),
    )


def read_search_page(body: bytes) -> tuple[SearchHit, ...]:
    """Read one page of a search, without files. Repositories with names that cannot be pulled are left out."""
    return tuple(
        SearchHit(repo=model.id, num_downloads=_count(model.downloads), tags=_tags(model.tags))
        for model in _decode(body, list[_Model])
        if is_repo_id(model.id)
    )


def next_page_of(link: str | None) -> str | None:
    """Find the address of the next page in a Link header, unchecked; None on the last page."""
    match = _NEXT_LINK.search(link[:8_192]) if link else None
    return match[1] if match else None


def _decode(body: bytes, type_: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise HubAnswerError(f"The hub's answer cannot be read: {str(exc)[:200]}.") from exc


def _file(repo: str, sibling: _Sibling) -> HubFile:
    problem = path_problem(sibling.path)
    if problem is not None:
        raise HubAnswerError(
            f"{repo} names a file {sibling.path[:80]!a}, whose name {problem}; nothing is pulled from it."
        )
    lfs = sibling.lfs
    size = lfs.size if lfs is not None and lfs.size is not None else sibling.size
    if size is None or not 0 <= size <= MAX_FILE_BYTES:
        raise HubAnswerError(f"{repo} gives {sibling.path} the size {size}, which cannot be.")
    sha256 = lfs.sha256 if lfs is not None else None
    git_sha1 = sibling.blob_id if lfs is None else None
    is_sound = is_sha256(sha256 or "") if lfs is not None else is_commit(git_sha1 or "")
    if not is_sound:
        raise HubAnswerError(f"{repo} has no usable hash for {sibling.path}, so it could not be verified.")
    return HubFile(path=sibling.path, size_bytes=size, sha256=sha256, git_sha1=git_sha1)


def _tags(tags: list[Any]) -> tuple[str, ...]:
    return tuple(
        tag for tag in tags[:200] if isinstance(tag, str) and len(tag) <= MAX_TAG_CHARS and not has_unprintable(tag)
    )


def _count(value: int | None) -> int | None:
    return value if value is not None and 0 <= value < MAX_FILE_BYTES else None
