import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.config.server import ServerConfig
from router.errors import CertificateError
from router.tls import following
from router.tls.following import CertificateFollower
from router.tls.pair import PairFiles
from tests.support.certificates import RSA, Authority, replace
from tests.support.waiting import until

INTERVAL_S = 0.002


@contextlib.asynccontextmanager
async def followed(follower: CertificateFollower) -> AsyncIterator[CertificateFollower]:
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> PairFiles:
    """Return the pair of a server, to be renewed."""
    made = authority.make(names="DNS:first")
    own = PairFiles(tmp_path / "server.pem", tmp_path / "server.key")
    replace(own.certificate, made.certificate.read_bytes())
    replace(own.key, made.key.read_bytes())
    return own


def names_of(follower: CertificateFollower) -> tuple[str, ...]:
    assert follower.facts is not None
    return follower.facts.names


def context_of(follower: CertificateFollower) -> ssl.SSLContext:
    assert follower.tls is not None
    return follower.tls()


@pytest.mark.parametrize("key_comes_first", [False, True])
async def test_a_renewal_counts_whichever_file_comes_first(
    authority: Authority,
    files: PairFiles,
    key_comes_first: bool,  # noqa: FBT001
) -> None:
    """Also one whose key is of another kind: the old certificate must not be offered beside it."""
    renewed = authority.make(names="DNS:second", kind=RSA)
    steps = [(files.certificate, renewed.certificate), (files.key, renewed.key)]
    if key_comes_first:
        steps.reverse()
    async with followed(CertificateFollower(files, interval_s=INTERVAL_S)) as follower:
        before = context_of(follower)
        replace(steps[0][0], steps[0][1].read_bytes())
        await until(lambda: follower.error, "half a renewal is seen")
        assert names_of(follower) == ("first",)
        assert context_of(follower) is before
        replace(steps[1][0], steps[1][1].read_bytes())
        await until(lambda: names_of(follower) == ("second",), "the renewal is in force")
        assert follower.error is None
        assert context_of(follower) is not before


async def test_half_a_renewal_is_complained_about_once_and_only_if_it_stays(
    authority: Authority, files: PairFiles, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    look = following._signatures

    def counted(seen: PairFiles) -> following._Signatures:
        nonlocal looks
        looks += 1
        return look(seen)

    monkeypatch.setattr(following, "_signatures", counted)
    async with followed(CertificateFollower(files, interval_s=INTERVAL_S)) as follower:
        replace(files.certificate, authority.make().certificate.read_bytes())
        await until(lambda: follower.error, "half a renewal is seen")
        assert "is not used" not in caplog.text
        seen = looks
        await until(lambda: looks > seen + 3 * following.PATIENCE_LOOKS, "it stays")
    assert caplog.text.count("the new certificate is not used, the old one stays") == 1
    assert "is not the key of the first certificate" in caplog.text


async def test_a_file_that_is_being_written_changes_nothing_until_it_is_whole(
    authority: Authority, files: PairFiles
) -> None:
    async with followed(CertificateFollower(files, interval_s=INTERVAL_S)) as follower:
        renewed = authority.make(names="DNS:second")
        replace(files.key, renewed.key.read_bytes())
        await until(lambda: "is not the key" in (follower.error or ""), "the key was read")
        written = renewed.certificate.read_bytes()
        for length, reason in ((10, "has no certificate"), (len(written) // 3, "damaged or cut off")):
            files.certificate.write_bytes(written[:length])
            await until(lambda why=reason: why in (follower.error or ""), "what is cut off is refused")  # type: ignore[misc]
            assert names_of(follower) == ("first",)
        files.certificate.write_bytes(written)
        await until(lambda: names_of(follower) == ("second",), "the whole file is in force")


async def test_files_that_are_gone_change_nothing_and_count_when_they_are_back(
    authority: Authority, files: PairFiles
) -> None:
    async with followed(CertificateFollower(files, interval_s=INTERVAL_S)) as follower:
        files.certificate.unlink()
        await until(lambda: follower.error, "it is gone")
        assert names_of(follower) == ("first",)
        renewed = authority.make(names="DNS:second")
        replace(files.key, renewed.key.read_bytes())
        replace(files.certificate, renewed.certificate.read_bytes())
        await until(lambda: names_of(follower) == ("second",), "it is back")


async def test_a_link_that_is_turned_to_a_renewal_counts(authority: Authority, tmp_path: Path) -> None:
    """As certbot and container platforms renew."""
    first, second = authority.make(names="DNS:first"), authority.make(names="DNS:second")
    files = PairFiles(tmp_path / "live.pem", tmp_path / "live.key")
    files.certificate.symlink_to(first.certificate)
    files.key.symlink_to(first.key)
    async with followed(CertificateFollower(files, interval_s=INTERVAL_S)) as follower:
        for link, target in ((files.certificate, second.certificate), (files.key, second.key)):
            link.unlink()
            link.symlink_to(target)
        await until(lambda: names_of(follower) == ("second",), "the links are followed")


async def test_an_order_reads_at_once_and_complains_at_once(
    files: PairFiles, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with followed(CertificateFollower(files, interval_s=3600.0)) as follower:
        renewed = authority.make(names="DNS:second")
        replace(files.certificate, renewed.certificate.read_bytes())
        follower.read_now()
        await until(lambda: follower.error, "it was read")
        assert "is not used, the old one stays" in caplog.text
        replace(files.key, renewed.key.read_bytes())
        follower.read_now()
        await until(lambda: names_of(follower) == ("second",), "it was read again")


async def test_the_end_is_told_when_it_comes_near_and_when_it_is_there(
    files: PairFiles, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        probe = CertificateFollower(files)
        assert probe.facts is not None
        assert probe.facts.expires_at is not None
        moment = probe.facts.expires_at - 30 * 86_400.0
        async with followed(CertificateFollower(files, interval_s=INTERVAL_S, now=lambda: moment)):
            assert caplog.text == ""
            moment += 25 * 86_400.0 - 60
            await until(lambda: "it expires in 5 days" in caplog.text, "it is told")
            moment += 10 * 86_400.0
            await until(lambda: "it has expired" in caplog.text, "it is told")
    assert caplog.text.count("the certificate") == 2


async def test_a_bad_pair_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="cannot be read"):
        CertificateFollower(PairFiles(tmp_path / "none", tmp_path / "none"))


async def test_a_server_without_a_certificate_follows_nothing() -> None:
    follower = CertificateFollower.of(ServerConfig())
    assert (follower.scheme, follower.tls, follower.facts) == ("http", None, None)
    await follower.run()
    follower.read_now()
