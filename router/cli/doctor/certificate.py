"""The doctor's question about the certificate of TLS."""

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from router.cli.doctor.check import Check
from router.cli.terminal.context import read_config
from router.config.paths import Paths
from router.errors import CertificateError, ConfigError
from router.tls.pair import PairFiles, is_open_to_others, load_pair, notice

_NAME = "certificate"


def check_certificate(paths: Paths) -> Iterator[Check]:
    """Try the pair that the config names; nothing to say where it names none."""
    with contextlib.suppress(ConfigError):
        server = read_config(paths).server
        if server.tls_cert_file is not None and server.tls_key_file is not None:
            yield _judged(PairFiles(Path(server.tls_cert_file), Path(server.tls_key_file)))


def _judged(files: PairFiles) -> Check:
    try:
        facts = load_pair(files).facts
    except CertificateError as exc:
        return Check(_NAME, "broken", str(exc), remedy="mend the files; a running server takes them by itself")
    found = ", ".join(facts.names) or str(files.certificate)
    if facts.expires_at is not None:
        found = f"{found}, until {datetime.fromtimestamp(facts.expires_at, UTC):%Y-%m-%d}"
    problem = notice(facts, time.time())
    if problem is not None:
        return Check(_NAME, "warning", f"{found}; {problem}", remedy="renew it (docs/tls.md)")
    if is_open_to_others(files):
        return Check(_NAME, "warning", f"{files.key} can be read by others", remedy=f"chmod 600 {files.key}")
    return Check(_NAME, "ok", found)
