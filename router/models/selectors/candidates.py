"""The registry's models as candidates of a selector, and what is told where none is chosen."""

from collections.abc import Callable

from registry.catalogue import Model
from registry.errors import ModelNotFoundError
from router.models.auto.learning import UNKNOWN_SIZE, AutoLearning
from router.models.auto.speeds import bucket_of
from router.models.engine_choice import usable_artifacts
from router.models.model_request import ModelRequest
from router.models.selectors.rules import BUILT_IN, PREFIX, Candidate, Selection, Wanted, wanted_by
from router.models.targets import Purpose

_BUCKET = bucket_of(UNKNOWN_SIZE.num_prompt_tokens)
_WAYS_OUT = {
    "vision": "`mlxr models search vision` finds some that see",
    **dict.fromkeys(("small", "code"), "`mlxr models list` shows what there is"),
}


class NothingSelectedError(ModelNotFoundError, code="nothing_selected"):
    """A selector means no model here."""

    def __init__(self, selection: Selection) -> None:
        wanted = selection.wanted
        super().__init__(wanted.selector)
        way_out = _WAYS_OUT.get(wanted.name, f"{', '.join(PREFIX + name for name in BUILT_IN)} need no tag")
        tagged = f"`mlxr models set NAME tags={wanted.name}` tags one"
        self.args = (f"There is no model for {wanted.selector!r}: {selection.why}; {tagged}, {way_out}.",)


def wanted_of(model_request: ModelRequest, *, has_picture: bool = False) -> Wanted | None:
    """Return what chose the model of a request; None = it was named."""
    name = wanted_by(model_request.selector or "")
    engine = None if model_request.engine is None else model_request.engine.engine
    return None if name is None else Wanted(name, None if engine is None else engine.kind, has_picture)


def candidate_of(model: Model, *, can_see: Callable[[Model], bool], auto: AutoLearning | None) -> Candidate:
    """Return what rules go by.

    Args:
        auto: What was measured, and what is loaded; None = nothing is known of either.
    """
    artifacts = usable_artifacts(model, Purpose.GENERATE)
    facts = [artifact.facts for artifact in artifacts.values()]
    templates = [each.chat_template for each in facts if each.chat_template is not None]
    speeds = {} if auto is None or not artifacts else auto.speeds(model.name, artifacts)
    rates = [rate for each in speeds.values() if (rate := each.decode[_BUCKET]) is not None]
    return Candidate(
        model=model.name,
        tags=model.settings.tags or (),
        engines=frozenset(artifacts),
        num_parameters=min((each.parameter_count for each in facts if each.parameter_count), default=None),
        sees=bool(artifacts) and can_see(model),
        has_tools=any(template.has_tools for template in templates),
        is_loaded=auto is not None and auto.resident_of(model.name).engine is not None,
        decode_tokens_per_s=max(rates, default=None),
        last_used_at=model.last_used_at,
    )
