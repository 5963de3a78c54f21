"""Which requests an upstream serves, beside the engines of this machine. Pure.

First that holds wins:
    1. The engine that is set is an upstream. It serves; where it cannot be asked now, `engine_fallback` says what does:
       nothing (it says itself why not), an engine here (`other`), or another upstream, else an engine here.
    2. The model has no usable files here: an upstream that has it serves, unless the request itself names an engine.
    3. An engine of this machine serves. Where it cannot and `engine_fallback` is `upstream`, an upstream does.

`auto` takes no upstream for a model that has files here unless the upstream's `auto` allows it: it may be another's
machine, and cost money. Where it does, and the upstream's last answers were so quick that the next one is expected to
take four fifths of the time here at most, loads included, it is asked; both have to be measured for that.
"""

from collections.abc import Callable, Container, Sequence
from typing import Final

from registry.catalogue import Model
from registry.engines import LOCAL_ENGINES, Engine, EngineKind, EngineSetting
from registry.settings import LOAD_SETTINGS
from router.config.schema import EngineFallback
from router.config.upstreams import UpstreamField
from router.errors import (
    EngineNotAvailableError,
    InvalidRequestError,
    ModelCannotSeeError,
    ModelLoadFailedError,
    RouterError,
    UnsupportedFieldError,
    UpstreamNotAvailableError,
)
from router.http.headers import WORKER_HEADER
from router.models.engine_choice import setting_of, usable_artifacts
from router.models.fallback import OTHER, REFUSE, fallback_for
from router.models.load_settings import AS_CONFIGURED
from router.models.model_request import ModelRequest
from router.models.offers import Offer
from router.models.size import USUAL_ANSWER_TOKENS
from router.models.targets import Choice, EngineReason, Purpose, RemoteModel, Target

MAX_SHARE_OF_HERE: Final = 0.8
"""Of the time that an engine here would take; nothing goes to another machine for less."""
Here = Callable[[EngineSetting | None, EngineFallback | None], Choice]
"""Chooses between the engines of this machine: for a request's own setting, under a word on what serves in its place.

Its errors are those of `engine_choice.choose`.
"""


def choose_anywhere(
    model: Model,
    request: ModelRequest,
    offers: Sequence[Offer],
    *,
    global_setting: EngineSetting,
    fallback: EngineFallback | None,
    pick: Callable[[Sequence[Offer]], Offer],
    here: Here,
    here_s: Callable[[Choice], float | None] = lambda _choice: None,
    failing: Container[EngineKind] = frozenset(),
) -> Choice:
    """Return what serves a request for `model`: a worker of this machine, or an upstream.

    Args:
        offers: Who has the model; those that cannot be asked now are among them.
        fallback: The config's word on what serves where an engine cannot; None = it has none.
        pick: Picks between several offers, of which there is one at least.
        here_s: Tells how long an engine of this machine is expected to take for the request; None = not measured.
        failing: Engines that cannot load the model now.

    Raises:
        UpstreamNotAvailableError: The upstream that is set does not have the model.
        RouterError: What is asked for cannot be had of the upstream that has to serve; else as `engine_choice.choose`.
    """
    setting, reason = setting_of(model, request.engine, global_setting)
    word = fallback_for(fallback, request.engine)
    able = [each for each in offers if each.why_not is None and refusal_of(request, each) is None]
    named = setting.engine
    is_here = bool(usable_artifacts(model, request.purpose))
    if named is not None and named.kind is EngineKind.UPSTREAM:
        return _named(model, request, named, reason, offers, word=word, able=able, pick=pick, here=here)
    if not is_here and offers and not (word == REFUSE and named is not None and request.engine is not None):
        is_set = named is not None and request.engine is not None
        why = EngineReason.FALLBACK_NO_ARTIFACT if is_set else EngineReason.UPSTREAM_ONLY
        return _on(pick(able or offers), model, request, why)
    if word != "upstream" or not able:
        choice = here(request.engine, OTHER if word == "upstream" else fallback)
        return choice if named is not None else _sooner(choice, model, request, able, here_s)
    try:
        choice = here(request.engine, REFUSE)
    except (EngineNotAvailableError, ModelLoadFailedError):
        return _on(pick(able), model, request, EngineReason.FALLBACK_NO_ARTIFACT)
    if choice.target.engine.kind in failing:
        return _on(pick(able), model, request, EngineReason.FALLBACK_LOAD_FAILED)
    return choice if named is not None else _sooner(choice, model, request, able, here_s)


def _sooner(
    choice: Choice,
    model: Model,
    request: ModelRequest,
    able: Sequence[Offer],
    here_s: Callable[[Choice], float | None],
) -> Choice:
    """Return the choice of `auto`, or an upstream that it may take and that is expected to be done much sooner."""
    num_tokens = USUAL_ANSWER_TOKENS if request.size is None else request.size.num_answer_tokens
    expected = [(each.expected_s(num_tokens), each) for each in able if each.is_auto]
    measured = [(seconds, offer) for seconds, offer in expected if seconds is not None]
    if not measured or choice.reason.is_fallback:
        return choice
    seconds, offer = min(measured, key=lambda pair: pair[0])
    own_s = here_s(choice)
    if own_s is None or seconds > MAX_SHARE_OF_HERE * own_s:
        return choice
    return _on(offer, model, request, EngineReason.AUTO_UPSTREAM)


def _named(
    model: Model,
    request: ModelRequest,
    named: Engine,
    reason: EngineReason,
    offers: Sequence[Offer],
    *,
    word: EngineFallback,
    able: Sequence[Offer],
    pick: Callable[[Sequence[Offer]], Offer],
    here: Here,
) -> Choice:
    """Return what serves where an upstream is set."""
    offer = next((each for each in offers if each.upstream == named.name), None)
    if offer is not None and (offer.why_not is None or word == REFUSE):
        return _on(offer, model, request, reason)
    is_here = bool(usable_artifacts(model, request.purpose))
    others = [each for each in able if offer is None or each.upstream != offer.upstream]
    if others and (word == "upstream" or not is_here) and word != REFUSE:
        return _on(pick(others), model, request, EngineReason.FALLBACK_UPSTREAM)
    if is_here and word != REFUSE:
        choice = here(EngineSetting.AUTO, OTHER)
        return Choice(choice.target, EngineReason.FALLBACK_UPSTREAM, choice.keep_alive_s)
    if offer is not None:
        return _on(offer, model, request, reason)
    having = [f"upstream:{each.upstream}" for each in offers]
    having += [kind for kind in LOCAL_ENGINES if kind in usable_artifacts(model, request.purpose)]
    raise UpstreamNotAvailableError(model.name, str(named.name), having)


def _on(offer: Offer, model: Model, request: ModelRequest, reason: EngineReason) -> Choice:
    refusal = refusal_of(request, offer)
    if refusal is not None:
        raise refusal
    engine = Engine(EngineKind.UPSTREAM, offer.upstream)
    return Choice(Target(model.name, engine, RemoteModel(offer.upstream, offer.model_id)), reason)


def refusal_of(request: ModelRequest, offer: Offer) -> RouterError | None:
    """Return why a request cannot be passed on, whatever it generates; None = it can."""
    reference = f"{request.label}@upstream:{offer.upstream}"
    if request.adapter is not None:
        words = f"model: the upstream '{offer.upstream}' has no adapters of ours; ask it for '{request.model}'"
        return InvalidRequestError(words, "model")
    if request.worker_id is not None:
        words = f"{WORKER_HEADER}: '{reference}' is served by no worker of this machine; leave the header out"
        return InvalidRequestError(words, WORKER_HEADER)
    if request.load != AS_CONFIGURED:
        key = next(key for key in LOAD_SETTINGS if getattr(request.load, key) is not None)
        words = f"{key}: the upstream '{offer.upstream}' loads its models as it is configured itself; leave it out"
        return UnsupportedFieldError(words, key)
    if request.image_param is not None and UpstreamField.IMAGES not in offer.honours:
        way_out = "ask another model, or take images out of the upstream's `lacks` in the config"
        return ModelCannotSeeError(reference, "its upstream takes none", way_out, request.image_param)
    if request.purpose is Purpose.EMBED and UpstreamField.EMBEDDINGS not in offer.honours:
        words = f"model: the upstream '{offer.upstream}' makes no embeddings; ask another model"
        return InvalidRequestError(words, "model")
    return None
