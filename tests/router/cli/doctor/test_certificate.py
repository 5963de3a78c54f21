import json
from pathlib import Path
from typing import Any

import pytest

from router.cli.doctor.certificate import check_certificate
from router.cli.doctor.check import Check
from router.config.paths import Paths
from router.tls.pair import PairFiles
from tests.support.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def judged(paths: Paths, files: PairFiles | None) -> list[Check]:
    pair = {} if files is None else {"tls_cert_file": str(files.certificate), "tls_key_file": str(files.key)}
    config: dict[str, Any] = {"server": pair}
    paths.config_file.parent.mkdir(parents=True, exist_ok=True)
    paths.config_file.write_text(json.dumps(config))
    return list(check_certificate(paths))


def test_without_a_certificate_there_is_nothing_to_say(paths: Paths) -> None:
    assert judged(paths, None) == []


def test_a_good_pair_says_for_whom_and_until_when(paths: Paths, authority: Authority) -> None:
    [check] = judged(paths, authority.make())
    assert check.state == "ok"
    assert check.found.startswith("localhost, 127.0.0.1, box.local, until 20")


def test_a_pair_that_cannot_be_used_is_broken(paths: Paths, authority: Authority) -> None:
    [check] = judged(paths, PairFiles(authority.make().certificate, authority.make().key))
    assert check.state == "broken"
    assert "is not the key of the first certificate" in check.found


@pytest.mark.parametrize(("days", "told"), [(-1, "expired"), (3, "it expires in 2 days")])
def test_one_whose_end_is_near_is_to_be_renewed(paths: Paths, authority: Authority, days: int, told: str) -> None:
    [check] = judged(paths, authority.make(days=days))
    assert check.state == "warning"
    assert told in check.found
    assert "docs/tls.md" in (check.remedy or "")


def test_a_key_that_others_may_read_is_a_warning(paths: Paths, authority: Authority) -> None:
    files = authority.make()
    Path(files.key).chmod(0o644)
    [check] = judged(paths, files)
    assert (check.state, check.remedy) == ("warning", f"chmod 600 {files.key}")
