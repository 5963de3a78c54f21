"""Real certificates, made by `openssl`: an authority of one's own, and what it signs."""

import itertools
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Final

import pytest

from router.tls.pair import PairFiles

NAMES: Final = "DNS:localhost,IP:127.0.0.1,DNS:box.local"
EC: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
RSA: Final = ("-newkey", "rsa:2048")
WEAK_RSA: Final = ("-newkey", "rsa:1024")

_serials = itertools.count(1)


def openssl(*arguments: str | Path) -> str:
    if shutil.which("openssl") is None:
        pytest.skip("makes its certificates by openssl, which is not here")
    return subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    ).stdout


class Authority:
    """Signs certificates; keeps everything in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cert, self.key = folder / "ca.pem", folder / "ca.key"
        subject = ("-subj", "/CN=tests", "-days", "2")
        openssl("req", "-x509", *EC, "-nodes", "-keyout", self.key, "-out", self.cert, *subject)

    def trusting(self) -> ssl.SSLContext:
        """Return what a client uses that trusts this authority."""
        return ssl.create_default_context(cafile=self.cert)

    def make(self, *, kind: tuple[str, ...] = EC, names: str | None = NAMES, days: int = 90) -> PairFiles:
        """Return a new certificate, that of the authority behind it, and its key."""
        serial = next(_serials)
        key, request, cert, extensions = (self.folder / f"{serial}.{end}" for end in ("key", "csr", "pem", "ext"))
        openssl("req", "-new", *kind, "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={serial}")
        extensions.write_text("basicConstraints=CA:FALSE\n" + ("" if names is None else f"subjectAltName={names}\n"))
        signed = ("-CA", self.cert, "-CAkey", self.key, "-set_serial", str(serial), "-extfile", extensions)
        openssl("x509", "-req", "-in", request, "-out", cert, "-days", str(days), *signed)
        cert.write_bytes(cert.read_bytes() + self.cert.read_bytes())
        return PairFiles(cert, key)

    def install(self, files: PairFiles, name: str = "server") -> PairFiles:
        """Copy a pair to where a server looks, in place of the one that is there."""
        installed = PairFiles(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        replace(installed.certificate, files.certificate.read_bytes())
        replace(installed.key, files.key.read_bytes())
        return installed


def replace(path: Path, data: bytes) -> None:
    """Write a file in one step, as those who renew certificates do."""
    temporary = path.with_suffix(".new")
    temporary.write_bytes(data)
    temporary.chmod(0o600)
    temporary.replace(path)
