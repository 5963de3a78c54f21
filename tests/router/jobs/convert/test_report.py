from pathlib import Path

import msgspec
import pytest

from router.cli.models.conversion_report import report_facts
from router.jobs.convert.report import REPORT_NAME, ConversionOptions, ConversionReport, Parity, read_report

REPORT = ConversionReport(
    source="/m/a.gguf",
    source_size_bytes=7,
    source_sha256=None,
    options=ConversionOptions(dtype="float16"),
    parity=Parity(num_tokens=200, agreement=0.93, source_perplexity=9.5, perplexity=10.25, is_same_tokens=True),
)


def test_what_was_stored_is_shown(tmp_path: Path) -> None:
    (tmp_path / REPORT_NAME).write_bytes(msgspec.json.encode(REPORT))
    report = read_report(tmp_path)
    assert report == REPORT
    assert report_facts(report) == [
        ("converted from", "/m/a.gguf"),
        ("converted to", "4 bits in groups of 64"),
        ("parity", "at 200 places 93% the same, perplexity 10.25 (source 9.50)"),
    ]


def test_a_comparison_that_was_left_out_or_cut_otherwise_is_said() -> None:
    left_out = msgspec.structs.replace(REPORT, parity=None, parity_skipped="no memory")
    assert report_facts(left_out)[-1] == ("parity", "not measured: no memory")
    assert REPORT.parity is not None
    other = msgspec.structs.replace(
        REPORT,
        parity=msgspec.structs.replace(REPORT.parity, is_same_tokens=False),
        options=ConversionOptions(bits=None, dtype="float16"),
    )
    assert report_facts(other)[1:] == [
        ("converted to", "float16 floats"),
        (
            "parity",
            "at 200 places 93% the same, perplexity 10.25 (source 9.50); the tokenizers cut the text differently",
        ),
    ]
    assert report_facts(None) == []


def test_a_vision_that_stayed_with_the_source_is_said() -> None:
    left = report_facts(msgspec.structs.replace(REPORT, leaves_vision=True))
    assert [name for name, _ in left] == ["converted from", "converted to", "left out", "parity"]


@pytest.mark.parametrize("data", [b"", b"[]", b"{" * 5_000_000, b'{"source": 1}'])
def test_what_a_stranger_put_there_is_no_report(tmp_path: Path, data: bytes) -> None:
    assert read_report(tmp_path) is None
    (tmp_path / REPORT_NAME).write_bytes(data)
    assert read_report(tmp_path) is None
