import ssl
from pathlib import Path

import pytest

from router.errors import CertificateError
from router.tls.pair import PairFiles, _handshake, load_pair
from router.tls.trust import only_trusting
from tests.support.certificates import Authority


def meets(server: PairFiles, trusted: Path) -> bool:
    try:
        _handshake(load_pair(server).context, only_trusting(trusted))
    except ssl.SSLCertVerificationError:
        return False
    return True


def test_the_servers_own_certificate_is_trusted_whatever_it_is_called(authority: Authority) -> None:
    files = authority.make(names="DNS:elsewhere.example")
    assert meets(files, files.certificate)


def test_another_certificate_of_the_same_authority_is_not_trusted(authority: Authority) -> None:
    """Who signed the server's certificate stands in its file as well, and has signed others'."""
    own, other = authority.make(), authority.make()
    assert authority.cert.read_bytes() in own.certificate.read_bytes()
    assert not meets(other, own.certificate)


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\n", "nonsense"])
def test_a_file_without_a_certificate_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cert.pem"
    file.write_text(text)
    with pytest.raises(CertificateError, match=r"has no whole certificate"):
        only_trusting(file)
    file.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(CertificateError, match=r"is damaged"):
        only_trusting(file)
    with pytest.raises(CertificateError, match=r"cannot be read: No such file"):
        only_trusting(tmp_path / "none")
