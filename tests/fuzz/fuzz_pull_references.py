"""Fuzz target of references to pull: whatever is typed, a reference with safe names or an InvalidReferenceError.

    pip install atheris && python tests/fuzz/fuzz_pull_references.py [CORPUS_DIR] [-max_total_time=60]

Not run by CI: atheris needs clang's fuzzing runtime.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

try:
    import atheris
except ImportError:
    sys.exit("atheris is not installed: pip install atheris")

with atheris.instrument_imports():
    from registry.credentials import MASK
    from registry.errors import InvalidReferenceError
    from registry.hub.addresses import origin_of
    from registry.hub.references import (
        HubReference,
        LocalReference,
        UrlReference,
        is_repo_id,
        is_revision,
        parse_pull_reference,
        path_problem,
    )


def test_one_input(data: bytes) -> None:
    """Parse the bytes as text, by themselves and behind each beginning that has rules of its own."""
    text = data.decode("utf-8", "surrogateescape")
    for start in ("", "https://", "hf.co/", "https://huggingface.co/", "ollama://", "o/r:", "o/r@", "o/r/"):
        try:
            reference = parse_pull_reference(start + text)
        except InvalidReferenceError as exc:
            if not str(exc).isprintable():
                raise AssertionError(str(exc)) from exc
            continue
        match reference:
            case HubReference(repo=repo, file=file, revision=revision):
                is_safe = is_repo_id(repo) and (file is None or path_problem(file) is None)
                is_safe = is_safe and (revision is None or is_revision(revision))
            case UrlReference(url=url, file_name=name):
                is_safe = path_problem(name) is None and "/" not in name and origin_of(url) is not None
            case LocalReference(path=path):
                is_safe = path.startswith(("/", "./", "../"))
            case _:
                is_safe = MASK not in str(reference)
        if not is_safe:
            raise AssertionError(reference)


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
