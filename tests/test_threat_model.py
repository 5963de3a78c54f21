"""Each claim of docs/threat-model.md names tests that there are."""

import re
from pathlib import Path

_REPOSITORY = Path(__file__).parents[1]
_DOCUMENT = _REPOSITORY / "docs" / "threat-model.md"


def test_every_claim_names_tests_that_there_are() -> None:
    text = _DOCUMENT.read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    files = (path.read_text(encoding="utf-8") for path in (_REPOSITORY / "tests").rglob("test_*.py"))
    known = {name for file in files for name in re.findall(r"^\s*(?:async )?def (test_\w+)\(", file, re.MULTILINE)}
    assert named - known == set()
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.endswith("held by |")]
    assert len(rows) > 15
    assert all("`test_" in row for row in rows)
