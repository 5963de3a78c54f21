"""Hosts as users write them: what passes, what never comes near ssh, and groups that could not find each other."""

import re

import pytest

from registry.errors import InvalidSettingError
from registry.hosts import HOST_PATTERN, Host, host_of, why_no_group
from registry.settings import check_settings, settings_from_text


@pytest.mark.parametrize(
    ("word", "host"),
    [
        ("local", Host(None)),
        ("local=10.0.0.1", Host(None, "10.0.0.1")),
        ("mac2=10.0.0.2", Host("mac2", "10.0.0.2")),
        ("me@mac-2.local=192.168.1.20", Host("me@mac-2.local", "192.168.1.20")),
        ("mac2=10.0.0.2/rdma_en2:-", Host("mac2", "10.0.0.2", ("rdma_en2", None))),
    ],
)
def test_words_are_read(word: str, host: Host) -> None:
    assert re.search(HOST_PATTERN, word)
    assert host_of(word) == host


@pytest.mark.parametrize(
    "word",
    [
        *(
            "-oProxyCommand=x",
            "-l",
            "a b",
            "a;b",
            "$(x)",
            "a`b`",
            "a|b",
            "a\nb",
            "mac2\n",
            "a/../b=1.1.1.1",
            "",
            "@a",
            "-@a",
        ),
        *(
            "mac2=10.0.0",
            "mac2=10.0.0.256",
            "mac2=name",
            "mac2=::1",
            "mac2=10.0.0.2/-oX",
            "mac2=1.1.1.1/a;b",
            "a'b",
            'a"b',
        ),
    ],
)
def test_whatever_ssh_or_a_shell_could_take_for_something_else_is_no_host(word: str) -> None:
    with pytest.raises(InvalidSettingError, match=r"^hosts: expected hosts such as local or mac2=10\.0\.0\.2"):
        check_settings({"hosts": ["local=10.0.0.1", word]})


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["local", "local"], None),
        (["local"], None),
        (["local=10.0.0.1", "mac2=10.0.0.2"], None),
        (["mac2=10.0.0.2", "local=10.0.0.1"], "the first host is this machine"),
        (["local", "mac2=10.0.0.2"], "local: give the address"),
        (["local=10.0.0.1", "mac2"], "mac2: give the address"),
        (["local=10.0.0.1", "mac2=127.0.0.1"], "127.0.0.1 is nobody else's address"),
        (["local=10.0.0.1/-:rdma_en1", "mac2=10.0.0.2/rdma_en1"], "it names 1 RDMA devices"),
    ],
)
def test_groups_that_could_not_find_each_other_are_refused(words: list[str], problem: str | None) -> None:
    found = why_no_group(words)
    assert found is None if problem is None else problem in str(found)


def test_they_are_typed_with_commas() -> None:
    assert settings_from_text({"hosts": "local=10.0.0.1,mac2=10.0.0.2"}) == {
        "hosts": ("local=10.0.0.1", "mac2=10.0.0.2")
    }
    with pytest.raises(InvalidSettingError, match="the first host is this machine"):
        settings_from_text({"hosts": "mac2=10.0.0.2,local"})
