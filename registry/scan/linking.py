"""Which model a newly found artifact belongs to. Pure decisions; the caller looks up what is there.

Not here: the user's own links, which stand above this and are never undone by a scan.

The rule: an artifact joins the model of its derived name when that model has no artifact of its format yet and is the
same base model. Otherwise it gets a model of its own, under the first free of these names: `name`, `org/name`,
`name-<quantization>`, `name-2`, `name-3` and so on.
"""

import itertools
from collections.abc import Iterator
from typing import Final

from registry.catalogue import ArtifactDraft, Model
from registry.facts import ModelFacts
from registry.names import with_suffix

PARAMETER_TOLERANCE: Final = 0.02
"""Converters drop or add small tensors (rotary frequencies, biases); another size of a family differs far more."""


def candidate_names(draft: ArtifactDraft, model: Model | None) -> Iterator[str]:
    """List the names to try for an artifact, best first, without end.

    Args:
        model: The model that has the plain name, if any.
    """
    yield draft.name
    label = draft.facts.quantization.label if draft.facts.quantization is not None else draft.format.value
    if draft.organization is not None and model is not None and not is_same_base(model, draft.facts):
        yield f"{draft.organization}/{draft.name}"
    yield with_suffix(draft.name, label)
    for number in itertools.count(2):
        yield with_suffix(draft.name, str(number))


def can_join(model: Model, draft: ArtifactDraft) -> bool:
    """Tell whether an artifact becomes part of an existing model.

    Args:
        model: The model of the name in question.

    Returns:
        True when the model has none of the format and is the same base model.
    """
    return all(artifact.format is not draft.format for artifact in model.artifacts) and is_same_base(model, draft.facts)


def is_same_base(model: Model, facts: ModelFacts) -> bool:
    """Tell whether facts describe the same base model as a model's artifacts.

    Compared are layers, width and parameters, not architecture names, which the two formats spell differently. The
    parameters may differ by one embedding matrix more: a format may store a tied output matrix a second time.
    """
    return all(_is_same(artifact.facts, facts) for artifact in model.artifacts)


def _is_same(one: ModelFacts, other: ModelFacts) -> bool:
    if one.kv is None or other.kv is None:
        return False
    if one.kv.num_layers != other.kv.num_layers or one.embedding_length != other.embedding_length:
        return False
    difference = abs(one.parameter_count - other.parameter_count)
    tolerance = PARAMETER_TOLERANCE * max(one.parameter_count, other.parameter_count)
    tied = (one.vocabulary_size or 0) * (one.embedding_length or 0)
    return difference <= tolerance or abs(difference - tied) <= tolerance
