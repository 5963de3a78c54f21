import os
import re
import ssl
import stat
import subprocess
import time
from pathlib import Path

import pytest

from router.errors import CertificateError
from router.tls import pair
from router.tls.pair import CertificateFacts, PairFiles, is_open_to_others, load_pair, notice
from tests.support.certificates import EC, RSA, WEAK_RSA, Authority, openssl

DAY_S = 86_400.0


def refusal(files: PairFiles) -> str:
    with pytest.raises(CertificateError) as caught:
        load_pair(files)
    return str(caught.value)


def refused_or(files: PairFiles) -> CertificateFacts | str:
    try:
        return load_pair(files).facts
    except CertificateError as exc:
        return str(exc)


@pytest.mark.parametrize("kind", [EC, RSA], ids=["ec", "rsa"])
def test_a_good_pair_says_who_it_is_for_and_how_long(authority: Authority, kind: tuple[str, ...]) -> None:
    found = load_pair(authority.make(kind=kind, days=90))
    assert found.facts.names == ("localhost", "127.0.0.1", "box.local")
    assert found.facts.problem is None
    assert found.facts.expires_at is not None
    assert abs(found.facts.expires_at - time.time() - 90 * DAY_S) < DAY_S
    assert found.context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_certificate_that_signed_itself_is_as_good(tmp_path: Path) -> None:
    files = PairFiles(tmp_path / "cert.pem", tmp_path / "key.pem")
    names = ("-subj", "/CN=me", "-addext", "subjectAltName=DNS:localhost")
    openssl("req", "-x509", *EC, "-nodes", "-keyout", files.key, "-out", files.certificate, *names)
    assert load_pair(files).facts.names == ("localhost",)


def test_both_may_stand_in_one_file(authority: Authority, tmp_path: Path) -> None:
    files = authority.make()
    both = tmp_path / "both.pem"
    both.write_bytes(files.key.read_bytes() + files.certificate.read_bytes())
    assert load_pair(PairFiles(both, both)).facts.problem is None


@pytest.mark.parametrize("kind", [EC, RSA], ids=["same kind", "other kind"])
def test_a_key_that_does_not_fit_is_refused(authority: Authority, kind: tuple[str, ...]) -> None:
    files = PairFiles(authority.make().certificate, authority.make(kind=kind).key)
    told = refusal(files)
    assert f"{files.key} is not the key of the first certificate in {files.certificate}" in told


def test_a_chain_in_the_wrong_order_is_refused_with_the_right_one(authority: Authority, tmp_path: Path) -> None:
    files = authority.make()
    leaf, rest = files.certificate.read_bytes().split(b"-----END CERTIFICATE-----\n", 1)
    turned = tmp_path / "turned.pem"
    turned.write_bytes(rest + leaf + b"-----END CERTIFICATE-----\n")
    assert "the server's own certificate comes first" in refusal(PairFiles(turned, files.key))


def test_files_that_are_swapped_are_told(authority: Authority) -> None:
    files = authority.make()
    told = refusal(PairFiles(files.key, files.certificate))
    assert told.startswith("server.tls_cert_file: ")
    assert "are the two files swapped?" in told


def test_the_binary_form_is_told_with_the_way_out(authority: Authority, tmp_path: Path) -> None:
    files = authority.make(kind=RSA)
    cert, key = tmp_path / "cert.der", tmp_path / "key.der"
    openssl("x509", "-in", files.certificate, "-outform", "der", "-out", cert)
    openssl("pkey", "-in", files.key, "-outform", "der", "-out", key)
    assert "openssl x509 -inform der" in refusal(PairFiles(cert, files.key))
    assert "openssl pkey -inform der" in refusal(PairFiles(files.certificate, key))


def test_a_key_with_a_passphrase_is_refused_without_asking_for_it(authority: Authority, tmp_path: Path) -> None:
    files = authority.make()
    locked = tmp_path / "locked.pem"
    openssl("pkey", "-in", files.key, "-aes256", "-passout", "pass:secret", "-out", locked)
    told = refusal(PairFiles(files.certificate, locked))
    assert f"{locked} is locked by a passphrase" in told
    assert "openssl pkey" in told


@pytest.mark.parametrize("which", ["cert", "key"])
def test_a_file_that_is_not_there_or_no_file_is_named(authority: Authority, tmp_path: Path, which: str) -> None:
    files = authority.make()
    for path, reason in ((tmp_path / "none.pem", "No such file"), (tmp_path, "directory")):
        bad = PairFiles(path, files.key) if which == "cert" else PairFiles(files.certificate, path)
        told = refusal(bad)
        assert told.startswith(f"server.tls_{which}_file: {path} cannot be read: ")
        assert reason in told


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_key_that_may_not_be_read_is_named(authority: Authority) -> None:
    files = authority.make()
    files.key.chmod(0)
    assert "Permission denied" in refusal(files)


@pytest.mark.parametrize("which", ["cert", "key"])
def test_a_file_that_is_cut_off_anywhere_is_refused_or_says_the_same(
    authority: Authority, tmp_path: Path, which: str
) -> None:
    files = authority.make()
    path = files.certificate if which == "cert" else files.key
    data, cut = path.read_bytes(), tmp_path / "cut.pem"
    bad = PairFiles(cut, files.key) if which == "cert" else PairFiles(files.certificate, cut)
    num_refused = 0
    for length in range(0, len(data), 7):
        cut.write_bytes(data[:length])
        found = refused_or(bad)
        num_refused += isinstance(found, str)
        assert str(cut) in found if isinstance(found, str) else found == load_pair(files).facts
    assert num_refused >= (len(data) // 7 - 1 if which == "key" else len(data) // 7 // 2)


def test_a_key_that_is_too_short_is_refused(authority: Authority) -> None:
    assert "too short to be safe" in refusal(authority.make(kind=WEAK_RSA))


def test_an_expired_certificate_serves_and_is_told(authority: Authority) -> None:
    facts = load_pair(authority.make(days=-1)).facts
    assert facts.problem is not None
    assert "expired" in facts.problem


def test_a_certificate_without_a_name_serves_and_is_told(authority: Authority) -> None:
    assert "subjectAltName" in (load_pair(authority.make(names=None)).facts.problem or "")


def test_what_is_worth_a_word_begins_two_weeks_before_the_end() -> None:
    facts = CertificateFacts(names=("localhost",), expires_at=100 * DAY_S)
    said = [notice(facts, day * DAY_S) for day in (0, 85.9, 86.5, 98.5, 99.5, 100)]
    assert said == [
        None,
        None,
        "it expires in 13 days",
        "it expires in 1 day",
        "it expires in 0 days",
        "it has expired",
    ]
    assert notice(CertificateFacts(problem="no"), 0.0) == "no"


def test_a_key_that_others_may_read_is_known(authority: Authority) -> None:
    files = authority.make()
    files.key.chmod(0o640)
    assert not is_open_to_others(files)
    files.key.chmod(0o644)
    assert is_open_to_others(files)
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o644


def test_addresses_are_written_as_elsewhere(authority: Authority) -> None:
    assert load_pair(authority.make(names="IP:::1,IP:10.0.0.1")).facts.names == ("::1", "10.0.0.1")


def test_the_pair_that_the_docs_make_is_good(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "tls.md").read_text()
    commands = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    openssl("version")
    subprocess.run(["/bin/sh", "-ec", commands[0]], cwd=tmp_path, check=True, capture_output=True)
    files = PairFiles(tmp_path / "cert.pem", tmp_path / "key.pem")
    assert load_pair(files).facts.names == ("box.local", "localhost", "192.168.1.20", "127.0.0.1")
    assert not is_open_to_others(files)
    context = ssl.create_default_context(cafile=files.certificate)
    context.check_hostname = False
    assert pair._handshake(load_pair(files).context, context)["subject"] == ((("commonName", "box.local"),),)
