"""A pull from beginning to end: reference -> plan -> files in their places. One at a time; no state is stored.

Not here: the list of pulls, pausing and going on after a crash (`router.jobs.pulls`), and registering what came
(`registry.scan.register_path`).
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial as bind
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from registry.catalogue import ENGINE_OF_FORMAT
from registry.disk import RESERVE_BYTES, make_folder, translate_os_errors
from registry.engines import EngineKind, PullEngines
from registry.errors import HubAuthError, HubGatedError, HubNotFoundError, NothingToPullError, PullDiskFullError
from registry.facts import ArtifactFormat
from registry.hub.addresses import is_private, origin_of
from registry.hub.answers import RepoInfo
from registry.hub.client import HubClient
from registry.hub.ollama.client import OllamaRegistry, OllamaWeb
from registry.hub.references import (
    HubReference,
    LocalReference,
    OllamaReference,
    UrlReference,
    is_repo_id,
    parse_pull_reference,
)
from registry.hub.web import HubSettings, Web
from registry.pull.events import Listener, Planned, Waiting
from registry.pull.fetching import Fetcher
from registry.pull.folder import PullFolder
from registry.pull.inventory import look
from registry.pull.planning import has_gguf, has_mlx, plan_gguf, plan_mlx, siblings_of
from registry.pull.planning_ollama import plan_ollama
from registry.pull.progress import ProgressMeter
from registry.pull.publishing import publish, tidy
from registry.pull.transfer import TransferSettings
from registry.pull_record import PlannedFile, PlannedPart, PullOptions, PullPlan
from registry.threads import in_thread, locked, with_registry

_FORMATS_FOR: Final = {
    PullEngines.LLAMACPP: (ArtifactFormat.GGUF,),
    PullEngines.MLX: (ArtifactFormat.MLX,),
    PullEngines.BOTH: (ArtifactFormat.GGUF, ArtifactFormat.MLX),
}


class PullSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How pulls are done.

    Attributes:
        progress_interval_s: The least time between two progress events.
    """

    transfer: TransferSettings = TransferSettings()
    reserve_bytes: int = RESERVE_BYTES
    progress_interval_s: float = 0.2


class PullResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a pull brought.

    Attributes:
        paths: What to register, one per part: an MLX folder or a model's first GGUF file.
    """

    plan: PullPlan
    paths: tuple[Path, ...]


class Puller:
    """Plans and fetches. Any method may raise a PullError.

    Args:
        ollama: Whom to ask for names of Ollama's.
    """

    def __init__(
        self,
        hub: HubClient,
        models_dir: Path,
        database: Path,
        settings: PullSettings | None = None,
        *,
        ollama: OllamaRegistry,
    ) -> None:
        self.hub = hub
        self.ollama = ollama
        self.folder = PullFolder(models_dir)
        self.database = database
        self.settings = settings or PullSettings()

    async def plan(self, reference: str, options: PullOptions | None = None) -> PullPlan:
        """Find out what a pull would do, and what of it is on the disk already.

        Args:
            reference: What to pull; `registry.hub.references` has the grammar.
        """
        options = options or PullOptions()
        match parse_pull_reference(reference):
            case LocalReference():
                raise NothingToPullError("Files on this machine are registered, not pulled.")
            case UrlReference() as url:
                plan = PullPlan(reference=reference, parts=(await self._plan_url(url),))
            case OllamaReference() as name:
                plan = await plan_ollama(reference, name, self.ollama, self.folder, self.database, options)
            case HubReference() as hub:
                plan = await self._plan_hub(reference, hub, options)
        if options.budget_bytes is not None:
            weights = max((part.total_bytes for part in plan.parts), default=0)
            plan = msgspec.structs.replace(plan, fits_memory=weights <= options.budget_bytes)
        return await self.look(plan)

    async def look(self, plan: PullPlan) -> PullPlan:
        """Note in a plan what is on the disk now."""
        return await with_registry(
            self.database,
            lambda registry: look(plan, self.folder, registry, reserve_bytes=self.settings.reserve_bytes),
        )

    async def fetch(self, plan: PullPlan, tell: Listener) -> PullResult:
        """Do what a plan says. Cancelling the task stops it; what came so far is kept.

        Args:
            tell: Takes the events, Planned first; returns at once.
        """
        plan = await self.look(plan)
        tell(Planned(plan=plan, total_bytes=plan.total_bytes, needed_bytes=plan.needed_bytes))
        if not plan.is_disk_enough:
            raise PullDiskFullError(
                f"The pull needs {plan.needed_bytes / 1e6:,.1f} MB in {self.folder.models_dir}; there "
                f"{(plan.free_bytes or 0) / 1e6:,.1f} MB are free, of which {plan.reserve_bytes / 1e6:,.1f} MB stay in "
                "reserve. Free some space, or choose a smaller quantization."
            )
        with translate_os_errors(self.folder.partial_dir):
            make_folder(self.folder.partial_dir, self.folder.models_dir)
        meter = ProgressMeter(plan.total_bytes, interval_s=self.settings.progress_interval_s)
        for part in plan.parts:
            for file in part.files:
                meter.set_present(f"{part.folder}/{file.path}", file.done_bytes)
        fetcher = Fetcher(self._web_of(plan), self.folder, self.database, self.settings.transfer, meter, tell)
        paths = [await self._fetch_part(fetcher, part, tell) for part in plan.parts]
        return PullResult(plan=plan, paths=tuple(paths))

    async def _fetch_part(self, fetcher: Fetcher, part: PlannedPart, tell: Listener) -> Path:
        async with locked(self.folder.part_lock(part), lambda: tell(Waiting(path=part.folder))):
            if await fetcher.is_in_place(part):
                await in_thread(bind(tidy, part, self.folder))
                return self.folder.result(part)
            settings = self.settings.transfer
            small = [file for file in part.files if file.size_bytes < settings.large_bytes]
            await _in_groups([bind(fetcher.obtain, part, file) for file in small], settings.num_connections)
            for file in part.files:
                if file.size_bytes >= settings.large_bytes:
                    await fetcher.obtain(part, file)
            return await with_registry(self.database, lambda registry: publish(part, self.folder, registry))

    def _web_of(self, plan: PullPlan) -> Web:
        """Give the connections that a plan's files are fetched over: each has its own origin, and so its own token."""
        is_ollama = isinstance(parse_pull_reference(plan.reference), OllamaReference)
        return self.ollama.web if is_ollama else self.hub.web

    # --- planning ---------------------------------------------------------------------------------------------------

    async def _plan_url(self, url: UrlReference) -> PlannedPart:
        size_bytes = await self.hub.size_of(url.url)
        host = (urlsplit(url.url).hostname or "").replace(":", "-").strip(".")
        # Two files of one name on one host must not replace each other.
        place = hashlib.sha256(url.url.encode()).hexdigest()[:12]
        file = PlannedFile(url=url.url, path=url.file_name, size_bytes=size_bytes)
        folder = f"url/{host[:100]}-{place}"
        return PlannedPart(format=ArtifactFormat.GGUF, repo=None, commit=None, folder=folder, files=(file,))

    async def _plan_hub(self, text: str, reference: HubReference, options: PullOptions) -> PullPlan:
        info = await self.hub.model_info(reference.repo, reference.revision)
        formats = _formats(info)
        wanted = _wanted(formats, options, info.repo)
        is_part_named = reference.quant is not None or reference.file is not None
        parts, missing, notes = [], [], []
        for kind in wanted:
            if kind in formats:
                parts.append(self._plan_part(info, reference, options, kind))
                continue
            sibling = await self._find_sibling(info.repo, kind)
            if sibling is None:
                missing.append(ENGINE_OF_FORMAT[kind])
                notes.append(f"No repository has {info.repo} for {ENGINE_OF_FORMAT[kind]}; it must be converted.")
                continue
            notes.append(f"For {ENGINE_OF_FORMAT[kind]}: {sibling.repo}.")
            parts.append(self._plan_part(sibling, HubReference(repo=sibling.repo), options, kind))
        if is_part_named and ArtifactFormat.GGUF not in formats:
            raise NothingToPullError(f"{info.repo} has no GGUF files, so there is nothing to choose by ':' or '/'.")
        if missing and not parts:
            parts = [self._plan_part(info, reference, options, kind) for kind in formats]
        if EngineKind.LLAMACPP in missing and wanted == (ArtifactFormat.GGUF,):
            raise NothingToPullError(f"{info.repo} has no GGUF form, and none was found beside it. Pull it for mlx.")
        return PullPlan(reference=text, parts=tuple(parts), needs_conversion=tuple(missing), notes=tuple(notes))

    def _plan_part(
        self, info: RepoInfo, reference: HubReference, options: PullOptions, kind: ArtifactFormat
    ) -> PlannedPart:
        endpoint = self.hub.web.endpoint
        if kind is ArtifactFormat.GGUF:
            return plan_gguf(info, reference, options, endpoint)
        return plan_mlx(info, endpoint)

    async def _find_sibling(self, repo: str, kind: ArtifactFormat) -> RepoInfo | None:
        has_kind = has_gguf if kind is ArtifactFormat.GGUF else has_mlx
        for candidate in siblings_of(repo, kind):
            if not is_repo_id(candidate):
                continue
            try:
                info = await self.hub.model_info(candidate)
            except (HubNotFoundError, HubAuthError, HubGatedError):
                continue  # The hub answers 401 for what is not there when no token is sent.
            if has_kind(info):
                return info
        return None


@asynccontextmanager
async def open_puller(
    hub: HubSettings, models_dir: Path, database: Path, settings: PullSettings | None = None
) -> AsyncIterator[Puller]:
    """Open the connections to a hub for some pulls."""
    settings = settings or PullSettings()
    async with AsyncExitStack() as stack:
        num_connections = 4 * settings.transfer.num_connections
        web = await stack.enter_async_context(Web(hub, num_connections=num_connections))
        other = await stack.enter_async_context(OllamaWeb(_for_ollama(hub), num_connections=num_connections))
        yield Puller(HubClient(web), models_dir, database, settings, ollama=OllamaRegistry(HubClient(other)))


def _for_ollama(hub: HubSettings) -> HubSettings:
    """Give how the other registry is reached: without the hub's token, and directly when it is on this network."""
    origin = origin_of(hub.ollama_endpoint) if hub.proxy is not None else None
    proxy = None if origin is not None and is_private(origin.host) else hub.proxy
    return msgspec.structs.replace(hub, endpoint=hub.ollama_endpoint, token=None, proxy=proxy)


def _formats(info: RepoInfo) -> tuple[ArtifactFormat, ...]:
    has = {ArtifactFormat.GGUF: has_gguf(info), ArtifactFormat.MLX: has_mlx(info)}
    return tuple(kind for kind, is_there in has.items() if is_there)


def _wanted(formats: tuple[ArtifactFormat, ...], options: PullOptions, repo: str) -> tuple[ArtifactFormat, ...]:
    if not formats:
        raise NothingToPullError(
            f"{repo} has neither GGUF files nor a config.json with safetensors; there is nothing to run in it."
        )
    return formats[:1] if options.engine is None else _FORMATS_FOR[options.engine]


async def _in_groups(jobs: Sequence[Callable[[], Awaitable[None]]], num_at_once: int) -> None:
    slots = asyncio.Semaphore(num_at_once)

    async def run(job: Callable[[], Awaitable[None]]) -> None:
        async with slots:
            await job()

    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(run(job))
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
