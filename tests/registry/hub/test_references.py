import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidReferenceError
from registry.hub.references import (
    HubReference,
    LocalReference,
    UrlReference,
    is_repo_id,
    is_revision,
    parse_pull_reference,
    path_problem,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Org/Repo-GGUF", HubReference(repo="Org/Repo-GGUF")),
        ("Org/Repo:Q4_K_M", HubReference(repo="Org/Repo", quant="Q4_K_M")),
        ("Org/Repo/sub/x.gguf", HubReference(repo="Org/Repo", file="sub/x.gguf")),
        ("Org/Repo:Q8_0@main", HubReference(repo="Org/Repo", quant="Q8_0", revision="main")),
        (f"Org/Repo@{COMMIT}", HubReference(repo="Org/Repo", revision=COMMIT)),
        ("Org/Repo@refs/pr/3", HubReference(repo="Org/Repo", revision="refs/pr/3")),
        ("hf.co/Org/Repo:UD-Q4_K_XL", HubReference(repo="Org/Repo", quant="UD-Q4_K_XL")),
        ("https://huggingface.co/Org/Repo", HubReference(repo="Org/Repo")),
        (
            "https://huggingface.co/Org/Repo/resolve/main/a%20b.gguf?download=true",
            HubReference(repo="Org/Repo", file="a b.gguf", revision="main"),
        ),
        ("https://hf.co/Org/Repo/blob/v1/x.gguf", HubReference(repo="Org/Repo", file="x.gguf", revision="v1")),
        ("https://example.com/a/x.gguf", UrlReference(url="https://example.com/a/x.gguf", file_name="x.gguf")),
        ("https://example.com/x.GGUF?a=b", UrlReference(url="https://example.com/x.GGUF?a=b", file_name="x.GGUF")),
        ("./x.gguf", LocalReference(path="./x.gguf")),
        ("../x", LocalReference(path="../x")),
        ("/models/x", LocalReference(path="/models/x")),
    ],
)
def test_references_are_taken_apart(text: str, expected: object) -> None:
    assert parse_pull_reference(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "repo",
        "org/",
        "org//x",
        "..%2f..",
        "org/..",
        "..x/y",
        "org/repo/../../etc/passwd",
        "org/repo/.",
        "org/repo//x",
        "org/repo/a\\b.gguf",
        "C:\\x",
        "C:/x/y",
        "org/re\u0000po",
        "org/re\u001bpo",
        "org/repo\u202egguf",
        "org/repo\ud800",
        "org/repo:",
        "org/repo:Q4 0",
        "org/repo:Q4/x.gguf",
        "org/repo@",
        "org/repo@../../x",
        "org/repo@a//b",
        "org/repo@-x",
        "org/repo@" + "a" * 101,
        "-org/repo",
        "org/.repo",
        "o" * 97 + "/repo",
        "org/" + "r" * 97,
        "org/repo/" + "x" * 600,
        "x" * 10_000,
        "file:///etc/passwd",
        "ftp://example.com/x.gguf",
        "https:///x.gguf",
        "https://example.com/x.zip",
        "https://example.com/",
        "https://user:password@example.com/x.gguf",
        "https://example.com/x.gguf#y",
        "https://example.com:99999/x.gguf",
        "https://example.com/..%2f..%2fx%2f.gguf/..",
        "https://example.com/%2e%2e/.gguf",
        "https://example.com/a%5cb.gguf",
        "https://\u0435xample.com/x.gguf",
        "https://huggingface.co/org/repo/resolve/main/..%2f..%2fx",
    ],
)
def test_what_is_unsafe_or_means_nothing_is_refused_with_a_printable_reason(text: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        parse_pull_reference(text)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@given(st.text(max_size=60) | st.text(alphabet="ab./:@\\%-_~ ", max_size=30).map(lambda tail: "org/repo" + tail))
def test_nothing_that_is_accepted_leaves_a_folder(text: str) -> None:
    try:
        reference = parse_pull_reference(text)
    except InvalidReferenceError:
        return
    if isinstance(reference, HubReference):
        names = [reference.repo, reference.file or "x"]
        assert all(part not in {"", ".", ".."} for name in names for part in name.split("/"))
        assert not any(char in name for name in names for char in "\\\0\n")
        assert is_repo_id(reference.repo)
        assert reference.revision is None or is_revision(reference.revision)
    if isinstance(reference, UrlReference):
        assert path_problem(reference.file_name) is None
        assert "/" not in reference.file_name


@pytest.mark.parametrize("text", ["https://me:geheim@h/x.gguf", "https://me:geheim@h:x/x.gguf", "ftp://me:geheim@h/x"])
def test_a_password_is_not_said_back(text: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        parse_pull_reference(text)
    assert "geheim" not in str(caught.value)
    assert "********@h" in str(caught.value)
