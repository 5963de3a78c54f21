import pytest

from router.cli.serve import _certified_url
from router.config.instance import ServerFacts


@pytest.mark.parametrize(
    ("url", "names", "asked"),
    [
        ("http://127.0.0.1:1", (), "http://127.0.0.1:1"),
        ("https://127.0.0.1:1", ("box.local", "127.0.0.1"), "https://127.0.0.1:1"),
        ("https://0.0.0.0:1", ("*.local", "box.local"), "https://box.local:1"),
        ("https://[::1]:1", ("::1",), "https://[::1]:1"),
        ("https://127.0.0.1:1", ("::1",), "https://[::1]:1"),
        ("https://127.0.0.1:1", ("*.local",), "https://127.0.0.1:1"),
    ],
)
def test_what_to_try_is_by_a_name_that_the_certificate_is_for(url: str, names: tuple[str, ...], asked: str) -> None:
    facts = ServerFacts("1")
    facts.url, facts.cert_names = url, names
    assert _certified_url(facts) == asked
