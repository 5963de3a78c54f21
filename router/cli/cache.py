"""`mlxr cache …`: see the caches of prompts that are saved on the disk, and delete them.

The files are looked at; a running server is not asked, and does without what has gone. Not here: what is saved, and
when (`backends.batching.saving`).
"""

from collections.abc import Iterable

import msgspec

from backends.cache_files import read_header
from backends.saved_caches.folder import SavedFile, clear, max_bytes_for, saved_files
from router.cli.terminal.catalogue import open_registry_for_reading
from router.cli.terminal.context import current_paths, read_config
from router.cli.terminal.options import ALL_FIELDS, json_option
from router.cli.terminal.output import moment, plural, print_json, print_table, size
from router.cli.terminal.verbs import verb
from router.models.load_spec import cache_key


class _SavedCache(msgspec.Struct, frozen=True, kw_only=True):
    """A file.

    Attributes:
        model: None = under an adapter, or of files that have changed or are known no longer.
        engine: With its version.
        key_id: The API key whose prompts begin with it; None = those without a key.
        used_at: When it was written or last read, seconds since 1970.
    """

    model: str | None
    engine: str
    num_tokens: int
    num_bytes: int
    key_id: str | None
    used_at: float
    path: str


class _SavedCaches(msgspec.Struct, frozen=True, kw_only=True):
    caches: list[_SavedCache]
    num_bytes: int
    max_bytes: int


class _Cleared(msgspec.Struct, frozen=True, kw_only=True):
    num_caches: int
    num_bytes: int


@verb
@json_option(ALL_FIELDS)
def list_caches(is_json: bool) -> None:
    """List the caches of prompts on the disk, the last used first; `mlxr cache` alone does the same.

    Long beginnings that came more than once are saved there (`cache.persist`), and found after a restart.
    Examples: `mlxr cache list`, `mlxr cache --json`.
    """
    paths = current_paths()
    root, config = paths.saved_caches_dir, read_config(paths)
    files = saved_files(root)
    found = _described(files)
    num_bytes = sum(file.num_bytes for file in files)
    max_bytes = max_bytes_for(root, config.cache.max_bytes)
    if is_json:
        print_json(_SavedCaches(caches=found, num_bytes=num_bytes, max_bytes=max_bytes))
        return
    if found:
        print_table(("MODEL", "ENGINE", "TOKENS", "SIZE", "KEY", "LAST USED"), [_row(each) for each in found])
    print(f"{plural(len(found), 'cache')}, {size(num_bytes)} of at most {size(max_bytes)}.")


@verb
@json_option(ALL_FIELDS)
def clear_caches(is_json: bool) -> None:
    """Delete all caches of prompts on the disk; what they hold is computed again when it is wanted.

    Example: `mlxr cache clear`.
    """
    files = clear(current_paths().saved_caches_dir)
    num_bytes = sum(file.num_bytes for file in files)
    if is_json:
        print_json(_Cleared(num_caches=len(files), num_bytes=num_bytes))
    else:
        print(f"{plural(len(files), 'cache')} deleted, {size(num_bytes)}.")


def _described(files: Iterable[SavedFile]) -> list[_SavedCache]:
    with open_registry_for_reading(current_paths()) as registry:
        names = {
            cache_key(artifact.engine.value, artifact.path, artifact.version): model.name
            for model in registry.models.list()
            for artifact in model.artifacts
        }
    found = []
    for file in files:
        header = read_header(file.path)
        if header is not None:
            found.append(
                _SavedCache(
                    model=names.get(file.path.parent.name),
                    engine=header.fingerprint.partition("|")[0],
                    num_tokens=len(header.token_ids),
                    num_bytes=file.num_bytes,
                    key_id=header.owner,
                    used_at=file.used_at,
                    path=str(file.path),
                )
            )
    return found


def _row(cache: _SavedCache) -> tuple[object, ...]:
    return cache.model, cache.engine, cache.num_tokens, size(cache.num_bytes), cache.key_id, moment(cache.used_at)
