"""The certificate in force follows its files: a renewal counts for connections that begin, a bad one changes nothing.

Not here: reading and checking a pair (`pair.py`).
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from router.config.server import ServerConfig
from router.config.watch import FileSignature, Polling, file_signature
from router.errors import CertificateError
from router.tls.pair import CertificateFacts, Pair, PairFiles, is_open_to_others, load_pair, notice

POLL_INTERVAL_S: Final = 0.5
"""How often the files are looked at; two `stat`. A renewal counts after one to two of these."""

PATIENCE_LOOKS: Final = 20
"""How many looks a bad pair gets to become whole before it is complained about: who renews writes one file first."""

_Signatures = tuple[FileSignature | None, FileSignature | None]

_logger = logging.getLogger(__name__)


class CertificateFollower:
    """Owns the pair in force.

    Args:
        files: Where it is; None = the server has none, and nothing is followed.
        now: Seconds since 1970.

    Raises:
        CertificateError: The pair cannot be used.
    """

    def __init__(
        self, files: PairFiles | None, *, interval_s: float = POLL_INTERVAL_S, now: Callable[[], float] = time.time
    ) -> None:
        self._files = files
        self._polling = Polling(interval_s)
        self._now = now
        self._error: str | None = None
        self._num_looks_to_wait = 0
        self._noticed: str | None = None
        self._pair: Pair | None = None
        if files is not None:
            self._read = _signatures(files)  # before it is read: what is written meanwhile is seen as a change
            self._put_in_force(files, load_pair(files))

    @classmethod
    def of(cls, server: ServerConfig) -> Self:
        """Return that of a server."""
        certificate, key = server.tls_cert_file, server.tls_key_file
        return cls(None if certificate is None or key is None else PairFiles(Path(certificate), Path(key)))

    @property
    def scheme(self) -> str:
        """What addresses of the server begin with."""
        return "http" if self._files is None else "https"

    @property
    def tls(self) -> Callable[[], ssl.SSLContext] | None:
        """What gives the context of a connection that begins; None = it is not encrypted."""
        return None if self._pair is None else self._context

    @property
    def facts(self) -> CertificateFacts | None:
        """What the certificate in force says."""
        return None if self._pair is None else self._pair.facts

    @property
    def names(self) -> tuple[str, ...]:
        """Host names and addresses that the certificate in force is for."""
        return () if self._pair is None else self._pair.facts.names

    @property
    def error(self) -> str | None:
        """Why what the files hold is not in force, or None."""
        return self._error

    def _context(self) -> ssl.SSLContext:
        assert self._pair is not None
        return self._pair.context

    def read_now(self) -> None:
        """Read the files at once, also where they seem unchanged."""
        self._polling.ask()

    async def run(self) -> None:
        """Follow the files until cancelled; return at once where there are none.

        A pair counts as written when two looks in a row see the same.
        """
        if self._files is None:
            return
        seen = self._read
        while True:
            is_asked = await self._polling.next()
            previous, seen = seen, _signatures(self._files)
            if is_asked or (seen == previous and seen != self._read):
                self._read = seen
                await self._take(self._files)
                self._num_looks_to_wait = 0 if is_asked else PATIENCE_LOOKS
                self._complain()
            elif seen == previous and self._num_looks_to_wait > 0:
                self._num_looks_to_wait -= 1
                self._complain()
            self._notice(self._files)

    async def _take(self, files: PairFiles) -> None:
        try:
            pair = await asyncio.to_thread(load_pair, files)
        except CertificateError as exc:
            self._error = str(exc)
        else:
            self._put_in_force(files, pair)

    def _put_in_force(self, files: PairFiles, pair: Pair) -> None:
        is_news = self._pair is None or self._pair.facts != pair.facts
        self._pair, self._error, self._noticed = pair, None, None
        if is_news:
            _tell(files, pair.facts)
        self._notice(files)

    def _complain(self) -> None:
        if self._error is not None and self._num_looks_to_wait == 0:
            _logger.warning("the new certificate is not used, the old one stays: %s", self._error)

    def _notice(self, files: PairFiles) -> None:
        """Warn of what is wrong with the certificate in force, once for each thing and day."""
        found = None if self._pair is None else notice(self._pair.facts, self._now())
        if found is not None and found != self._noticed:
            _logger.warning("the certificate %s: %s", files.certificate, found)
        self._noticed = found


def _tell(files: PairFiles, facts: CertificateFacts) -> None:
    until = "" if facts.expires_at is None else f", until {datetime.fromtimestamp(facts.expires_at, UTC):%Y-%m-%d}"
    _logger.info("TLS with %s for %s%s", files.certificate, ", ".join(facts.names) or "no name", until)
    if is_open_to_others(files):
        _logger.warning("%s can be read by others; `chmod 600` keeps the key to you", files.key)


def _signatures(files: PairFiles) -> _Signatures:
    return file_signature(files.certificate), file_signature(files.key)
