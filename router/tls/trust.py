"""What our own programs trust when they talk to a server of theirs over TLS: its certificate, and nothing else."""

import re
import ssl
from pathlib import Path
from typing import Final

from router.errors import CertificateError

_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
MAX_PEM_BYTES: Final = 1 << 20
"""Of a file; what stands behind is not read."""


def only_trusting(cert_file: Path) -> ssl.SSLContext:
    """Return what lets a client talk to the server that has this certificate, by whatever name it reaches it.

    Only the file's first certificate counts, the server's own: those behind it, of who signed it, vouch for others too.

    Raises:
        CertificateError: There is none in the file, or it cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    # Without this flag only a certificate that signed itself would do. Source: X509_VERIFY_PARAM_set_flags(3ssl).
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=_first_certificate(cert_file))
    except ssl.SSLError as exc:
        raise CertificateError(f"{cert_file}: its first certificate is damaged.") from exc
    return context


def _first_certificate(cert_file: Path) -> str:
    try:
        with cert_file.open("rb") as file:
            text = file.read(MAX_PEM_BYTES).decode("latin-1")
    except OSError as exc:
        raise CertificateError(f"{cert_file} cannot be read: {exc.strerror}.") from exc
    found = _CERTIFICATE.search(text)
    if found is None:
        raise CertificateError(f"{cert_file} has no whole certificate in PEM form.")
    return found[0]
