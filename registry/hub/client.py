"""The questions that pulls and searches ask a hub.

huggingface_hub is not used: three endpoints are needed, it takes a second to import, reads the environment at import,
retries by rules that cannot be set, and believes commits and names as they come. Not here: the bytes of model files
(`registry.pull`), and what to choose from an answer (`registry.pull.planning`).
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeVar
from urllib.parse import quote, urlencode

from registry.errors import HubAnswerError, HubBusyError, HubError, HubUnreachableError
from registry.hub.addresses import origin_of, short
from registry.hub.answers import RepoInfo, SearchHit, next_page_of, read_repo_info, read_search_page
from registry.hub.retry import Backoff, RetryPolicy, TroubleError
from registry.hub.web import Answer, Web

MAX_JSON_BYTES: Final = 8 << 20
"""10,000 files of a repository take 3 MB."""

MAX_PAGES: Final = 5
MAX_HITS: Final = 100
NUM_LOOKUPS: Final = 4
"""Repositories of a search that are looked into at the same time."""

_T = TypeVar("_T")


class HubClient:
    """Asks one hub. Any method may raise a HubError.

    Args:
        retry: How patient to be with an answer.
    """

    def __init__(self, web: Web, *, retry: RetryPolicy | None = None) -> None:
        self.web = web
        self._retry = retry or RetryPolicy(give_up_after_s=30.0, max_retry_after_s=60.0)

    async def model_info(self, repo: str, revision: str | None = None) -> RepoInfo:
        """Look up a repository at the commit that the revision means now.

        Args:
            repo: `ORG/REPO`, checked.
            revision: Branch, tag or commit, checked; None is the default branch.
        """
        at = f"/revision/{quote(revision, safe='')}" if revision else ""
        body, _ = await self._ask(f"{self.web.endpoint}/api/models/{repo}{at}?blobs=true")
        return read_repo_info(body)

    async def search(
        self,
        text: str,
        *,
        author: str | None = None,
        library: Literal["gguf", "mlx"] | None = None,
        limit: int = 10,
    ) -> tuple[SearchHit, ...]:
        """Look for repositories, most downloads first, and into each of them.

        Args:
            author: Only those of this organization or user.
            limit: At most so many, 1 to 100.

        Returns:
            What was found; a repository that could not be looked into has no `info`.
        """
        limit = max(1, min(limit, MAX_HITS))
        values = {"search": text[:200], "sort": "downloads", "direction": "-1", "limit": str(limit)}
        values |= {"author": author[:100]} if author else {}
        values |= {"filter": library} if library else {}
        url: str | None = f"{self.web.endpoint}/api/models?{urlencode(values)}"
        hits: dict[str, SearchHit] = {}
        for _ in range(MAX_PAGES):
            if url is None or len(hits) >= limit:
                break
            body, link = await self._ask(url)
            hits |= {hit.repo: hit for hit in read_search_page(body) if hit.repo not in hits}
            url = next_page_of(link)
            if url is not None and origin_of(url) != self.web.origin:
                raise HubAnswerError(f"The hub's next page is on another host ({short(url)}); it was not fetched.")
        slots = asyncio.Semaphore(NUM_LOOKUPS)
        return tuple(await asyncio.gather(*(self._look_into(hit, slots) for hit in list(hits.values())[:limit])))

    async def _look_into(self, hit: SearchHit, slots: asyncio.Semaphore) -> SearchHit:
        async with slots:
            try:
                info = await self.model_info(hit.repo)
            except HubError:
                return hit  # Gated or gone since; the search's own row still tells something.
        return SearchHit(repo=hit.repo, num_downloads=hit.num_downloads, tags=hit.tags or info.tags, info=info)

    async def size_of(self, url: str) -> int:
        """Ask how large a file on a web server is, in bytes, by asking for its first byte.

        Raises:
            HubAnswerError: The server does not say.
        """

        async def ask() -> int:
            async with self.web.get(url, {"Range": "bytes=0-0"}) as answer:
                return _announced_size(answer)

        size = await self._patiently(url, ask)
        if size <= 0:
            raise HubAnswerError(f"{short(url)} does not say how large it is; it cannot be pulled safely.")
        return size

    async def small(self, url: str, *, accept: str, limit_bytes: int) -> bytes:
        """Ask for something small."""
        body, _ = await self._ask(url, accept, limit_bytes)
        return body

    async def _ask(
        self, url: str, accept: str = "application/json", limit_bytes: int = MAX_JSON_BYTES
    ) -> tuple[bytes, str | None]:
        """Give an answer's body and its Link header."""

        async def ask() -> tuple[bytes, str | None]:
            async with self.web.get(url, {"Accept": accept}) as answer:
                return await self._read(answer, limit_bytes), answer.headers.get("link")

        return await self._patiently(url, ask)

    async def _read(self, answer: Answer, limit_bytes: int) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self.web.settings.answer_timeout_s):
                async for chunk in answer.chunks():
                    body += chunk
                    if len(body) > limit_bytes:
                        raise HubAnswerError(f"{short(answer.url)} answered with more than {limit_bytes} bytes.")
        except TimeoutError as exc:
            raise TroubleError("the answer took too long") from exc
        return bytes(body)

    async def _patiently(self, url: str, ask: Callable[[], Awaitable[_T]]) -> _T:
        backoff = Backoff(self._retry, now=time.monotonic(), draw=random.random)
        while True:
            try:
                return await ask()
            except TroubleError as exc:
                delay_s = backoff.delay_after(exc, time.monotonic())
                if delay_s is None:
                    raise given_up(url, exc) from exc
            await asyncio.sleep(delay_s)


def given_up(url: str, trouble: TroubleError) -> HubError:
    """Make the error of a request that was tried often enough."""
    if trouble.retry_after_s is not None:
        wait = f"it asks to come back in {trouble.retry_after_s:.0f} s"
        return HubBusyError(f"{short(url)}: {trouble.reason}; {wait}. Try again then; a token raises the limits.")
    return HubUnreachableError(f"{short(url)}: {trouble.reason}. Check the network and hub.endpoint, then try again.")


def _announced_size(answer: Answer) -> int:
    if answer.status == 206:  # noqa: PLR2004 - partial content
        total = answer.headers.get("content-range", "").rpartition("/")[2]
    else:
        total = answer.headers.get("content-length", "")
    return int(total) if total.isascii() and total.isdigit() and len(total) < 16 else 0  # noqa: PLR2004 - 9 petabytes
