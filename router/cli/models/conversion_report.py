"""How a converted artifact compares with its source, for people. Not here: measuring it (`router.jobs.convert`)."""

from pathlib import Path

from registry.catalogue import Artifact
from router.jobs.convert.report import ConversionReport, Parity, read_report


def stored_report(artifact: Artifact) -> ConversionReport | None:
    """Give what a conversion of ours stored beside the weights; None for what came another way."""
    if artifact.format != "mlx":
        return None

    return read_report(Path(artifact.path))


def report_facts(report: ConversionReport | None) -> list[tuple[str, object]]:
    """List what `models show` says of a conversion.

    Args:
        report: Of the artifact, if there is one.

    Returns:
        Name and value of each line; nothing without a report.
    """
    if report is None:
        return []
    options = report.options
    how = (
        f"{options.dtype} floats" if options.bits is None else f"{options.bits} bits in groups of {options.group_size}"
    )
    return [
        ("converted from", report.source),
        ("converted to", how),
        *([("left out", "the vision: the source sees pictures, this is a text model")] if report.leaves_vision else []),
        ("parity", f"not measured: {report.parity_skipped}" if report.parity is None else parity_words(report.parity)),
    ]


def parity_words(parity: Parity) -> str:
    """Say how two models read the fixed text."""
    words = (
        f"at {parity.num_tokens} places {parity.agreement:.0%} the same, perplexity {parity.perplexity:.2f} "
        f"(source {parity.source_perplexity:.2f})"
    )
    return words if parity.is_same_tokens else f"{words}; the tokenizers cut the text differently"
