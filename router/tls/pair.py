"""A certificate and its key: read from their files, and tried in a TLS handshake before anybody else meets them.

Not here: when they are read again (`following.py`).
"""

import contextlib
import ipaddress
import ssl
from pathlib import Path
from typing import Any, Final

import msgspec

from router.errors import CertificateError
from router.tls.trust import MAX_PEM_BYTES, only_trusting

CERT_KEY: Final = "server.tls_cert_file"
KEY_KEY: Final = "server.tls_key_file"

SOON_S: Final = 14 * 86_400.0
"""How long before its end a certificate is worth a word."""

_DAY_S: Final = 86_400.0
_MODE_OF_OTHERS: Final = 0o007
_NUM_FLIGHTS: Final = 8
"""More than a handshake takes. Source: RFC 8446, section 2; RFC 5246, section 7.3."""


class PairFiles(msgspec.Struct, frozen=True):
    """Where a certificate, with those of who signed it behind it, and its key are: PEM."""

    certificate: Path
    key: Path


class CertificateFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a certificate says.

    Attributes:
        names: Host names and addresses that it is for.
        expires_at: Seconds since 1970; None = not known, because of the problem.
        problem: Why clients will refuse it whoever signed it; None = they have no reason to.
    """

    names: tuple[str, ...] = ()
    expires_at: float | None = None
    problem: str | None = None


class Pair(msgspec.Struct, frozen=True):
    """A certificate with its key, ready for a server.

    Attributes:
        context: Of connections that begin.
    """

    context: ssl.SSLContext
    facts: CertificateFacts


def load_pair(files: PairFiles) -> Pair:
    """Read both files; the server's own certificate is the first of its file.

    Raises:
        CertificateError: They cannot be used; the text says which, why, and the way out.
    """
    _check_file(files.certificate, CERT_KEY, "certificate", b"CERTIFICATE-----")
    _check_file(files.key, KEY_KEY, "private key", b"PRIVATE KEY-----")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # costs a server more than its client
    context.set_alpn_protocols(["http/1.1"])

    def refuse_passphrase() -> str:
        raise CertificateError(
            f"{KEY_KEY}: {files.key} is locked by a passphrase, and a server that starts by itself has nobody to ask; "
            "`openssl pkey -in OLD -out NEW` writes the key without one, for a file of mode 600."
        )

    try:
        context.load_cert_chain(files.certificate, files.key, password=refuse_passphrase)
    except OSError as exc:  # SSLError is one
        raise CertificateError(_reason(files, exc)) from exc
    return Pair(context, _facts(files, context))


def is_open_to_others(files: PairFiles) -> bool:
    """Tell whether every user of this machine may read the key."""
    with contextlib.suppress(OSError):
        return bool(files.key.stat().st_mode & _MODE_OF_OTHERS)
    return False


def notice(facts: CertificateFacts, now: float) -> str | None:
    """Say what somebody should do something about, or None.

    Args:
        now: Seconds since 1970.
    """
    if facts.problem is not None or facts.expires_at is None:
        return facts.problem
    left_s = facts.expires_at - now
    if left_s <= 0:
        return "it has expired"
    days = int(left_s // _DAY_S)
    return f"it expires in {days} {'day' if days == 1 else 'days'}" if left_s < SOON_S else None


def _check_file(path: Path, key: str, what: str, mark: bytes) -> None:
    """Refuse what OpenSSL would have no clear words for."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PEM_BYTES)
    except OSError as exc:
        raise CertificateError(f"{key}: {path} cannot be read: {exc.strerror}.") from exc
    if mark in data:
        return
    if data.startswith(b"0\x82"):  # a SEQUENCE. Source: X.690, section 8.9
        command = "x509" if key == CERT_KEY else "pkey"
        way_out = f"it seems to be DER; `openssl {command} -inform der -in OLD -out NEW` writes PEM"
    else:
        way_out = "are the two files swapped?" if b"-----BEGIN " in data else "a line `-----BEGIN ...` begins one"
    raise CertificateError(f"{key}: {path} has no {what} in PEM form: {way_out}.")


def _reason(files: PairFiles, error: OSError) -> str:
    """Say why OpenSSL does not take the pair."""
    reason = getattr(error, "reason", None) or ""
    if reason in {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}:
        return (
            f"{KEY_KEY}: {files.key} is not the key of the first certificate in {files.certificate}; the server's own "
            "certificate comes first, those of who signed it behind it."
        )
    if reason.endswith("TOO_SMALL"):
        return f"{CERT_KEY}: {files.certificate} has a key that is too short to be safe; RSA needs 2048 bits."
    if reason.endswith("MD_TOO_WEAK"):
        return f"{CERT_KEY}: {files.certificate} is signed by a hash that is no longer safe; SHA-256 is."
    if not _is_whole(files.certificate):
        return f"{CERT_KEY}: a certificate in {files.certificate} is damaged or cut off."
    told = f" ({reason.lower().replace('_', ' ')})" if reason else ""
    return f"{KEY_KEY}: {files.key} is damaged, cut off or of a kind that is not known here{told}."


def _is_whole(cert_file: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cert_file)
        data = cert_file.read_bytes()
    except OSError:
        return False
    return data.count(b"-----BEGIN ") == data.count(b"-----END ")


def _facts(files: PairFiles, context: ssl.SSLContext) -> CertificateFacts:
    """Look at the certificate as a client does that trusts it."""
    try:
        peer = _handshake(context, only_trusting(files.certificate))
    except ssl.SSLCertVerificationError as exc:
        return CertificateFacts(problem=f"clients will refuse it: {exc.verify_message}")
    except ssl.SSLError as exc:
        raise CertificateError(f"{CERT_KEY}: no TLS is possible with {files.certificate}: {exc.reason}.") from exc
    names = tuple(_name(kind, name) for kind, name in peer.get("subjectAltName", ()) if kind in {"DNS", "IP Address"})
    expires_at = float(ssl.cert_time_to_seconds(peer["notAfter"]))
    if not names:
        return CertificateFacts(expires_at=expires_at, problem="it names no host (subjectAltName): clients refuse it")
    return CertificateFacts(names=names, expires_at=expires_at)


def _name(kind: str, name: str) -> str:
    """Write an address as others write it: OpenSSL spells IPv6 out."""
    return name if kind == "DNS" else str(ipaddress.ip_address(name.strip()))


def _handshake(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> dict[str, Any]:
    """Shake hands in memory; return the certificate that the client has seen."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(_NUM_FLIGHTS):
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
            return dict(client.getpeercert() or {})
        with contextlib.suppress(ssl.SSLWantReadError):
            server.do_handshake()
    raise CertificateError("The TLS handshake that tries the certificate does not end.")
