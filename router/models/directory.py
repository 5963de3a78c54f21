"""The gateway's view of the registry: lookups by name, kept in memory until another process changes the database.

Reads only, but for the time of last use. Inference on known models goes on when the database is locked or gone.
"""

import logging
import time
from collections.abc import Callable, Container, Mapping
from typing import Any

from msgspec.structs import replace

from registry.catalogue import Adapter, Artifact, Model
from registry.engines import EngineKind, EngineSetting
from registry.errors import DatabaseError, InvalidModelNameError, ModelNotFoundError, RegistryError
from registry.names import RESERVED_NAME, parse_model_reference
from registry.settings import LoadSettings
from registry.store import Registry
from router.config import CurrentConfig
from router.config.schema import EngineFallback
from router.errors import InvalidRequestError
from router.http.caller import current_caller
from router.http.exchange import note_model
from router.http.headers import ENGINE_HEADER
from router.models.adapters import find_adapters
from router.models.auto.learning import AutoLearning
from router.models.defaults import RequestDefaults, recommended_in_force
from router.models.draft import draft_source
from router.models.engine_choice import choose, usable_artifacts
from router.models.file_checks import FileChecks
from router.models.load_settings import AS_CONFIGURED
from router.models.model_request import ModelRequest
from router.models.names import names_meant
from router.models.offers import NoOffers, Offers
from router.models.remote import choose_anywhere
from router.models.selectors.candidates import NothingSelectedError, candidate_of, wanted_of
from router.models.selectors.rules import BUILT_IN, PREFIX, Selection, Wanted, select, wanted_by
from router.models.targets import Choice, EngineReason, Purpose, Target
from router.models.usage import UsageNotes
from router.models.vision import NOTHING_LACKS, PictureNeed, seeing

logger = logging.getLogger(__name__)


class ModelDirectory:
    """Owned by the event loop's thread, like the Registry connection under it.

    Args:
        current: Knows the config in force, whose engine setting is the lowest level.
        what_changed: Says what is not as the registry has it of an artifact's or adapter's files; None = all is taken
            to be unchanged.
        auto: What `engine: auto` has learned; None = nothing.
        cannot_see: Engines that lack here what they need for pictures, with what it is.
        clock: Monotonic seconds.

    Attributes:
        is_avoided: Tells of a target whether its loads fail, so that another engine is to serve where one may.
        offers: What upstreams offer.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        current: CurrentConfig,
        is_apple_silicon: bool,
        what_changed: Callable[[Artifact | Adapter], str | None] | None = None,
        auto: AutoLearning | None = None,
        cannot_see: Mapping[EngineKind, str] = NOTHING_LACKS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._current = current
        self._is_apple_silicon = is_apple_silicon
        self._files = FileChecks(what_changed, clock)
        self.auto = auto
        self._cannot_see = cannot_see
        self._usage = UsageNotes(registry, clock)
        self._listed: tuple[Model, ...] | None = None
        self._known: dict[str, Model] = {}
        self._fresh: set[str] = set()
        self._version: int | None = None
        self.is_avoided: Callable[[Target], bool] = lambda _target: False
        self.offers: Offers = NoOffers()

    def artifact_of(self, target: Target) -> Artifact | None:
        """Return what a target loads, None when the registry has it no longer, or an upstream serves it."""
        if target.is_remote:
            return None
        try:
            artifacts = self.get(target.model).artifacts
        except (ModelNotFoundError, DatabaseError):
            return None
        return next((artifact for artifact in artifacts if artifact.id == target.local.artifact_id), None)

    def is_pinned(self, target: Target) -> bool:
        """Tell whether a target's model is to stay loaded; not, where the registry has it no longer."""
        try:
            return bool(self._get(target.model).settings.pinned)
        except (ModelNotFoundError, DatabaseError):
            return False

    def draft_artifact_of(self, target: Target) -> Artifact | None:
        """Return what drafts for a target; None = nothing does, or the registry has it no longer."""
        draft = target.draft
        if draft is None or draft.artifact_id is None:
            return None
        model = self._draft_model(draft.name)
        artifacts = () if model is None else model.artifacts
        return next((artifact for artifact in artifacts if artifact.id == draft.artifact_id), None)

    def _draft_model(self, name: str) -> Model | None:
        """Return a model that drafts for others, also for those who may not ask it themselves."""
        try:
            return self._get(name)
        except (ModelNotFoundError, DatabaseError):
            return None

    def get(self, name: str) -> Model:
        """Return a model by name or alias.

        Raises:
            ModelNotFoundError: There is none, or it is not for whoever asks.
        """
        caller = current_caller()
        try:
            model = self._get(name)
        except ModelNotFoundError:
            if caller.models is None:
                raise
            raise ModelNotFoundError(name) from None  # without the names that are like it
        if not caller.may_use(model.name):
            raise ModelNotFoundError(name)
        return model

    def _get(self, name: str) -> Model:
        try:
            self._forget_if_changed()
            if name not in self._fresh:
                self._known[name] = self._registry.models.get(name)
                self._fresh.add(name)
        except ModelNotFoundError:
            self._known.pop(name, None)
            offered = self.offers.model(name)
            if offered is None:
                raise
            return offered
        except DatabaseError:
            if name not in self._known:
                raise
            logger.warning("the registry cannot be read; going on with what is known of %s", name)
        return self._known[name]

    def defaults_for(self, name: str) -> RequestDefaults:
        """Return what requests for a model get that do not say otherwise; errors as in `get`."""
        model = self.get(name)
        return RequestDefaults.of(self._current.config.generation, model.settings, model.recommended_sampling)

    def recommended_for(self, model: Model) -> dict[str, Any]:
        """Return what of its makers' recommendation counts for a model where its settings do not say otherwise."""
        return recommended_in_force(self._current.config.generation, model.settings, model.recommended_sampling)

    def list(self) -> tuple[Model, ...]:
        """Return all models that are for whoever asks, those at the end that only upstreams have."""
        self._forget_if_changed()
        if self._listed is None:
            self._listed = self._registry.models.list()
        found, caller = self._listed, current_caller()
        if offered := tuple(self.offers.models()):
            here = {name for model in found for name in (model.name, *model.aliases)}
            found += tuple(model for model in offered if model.name not in here)
        return found if caller.models is None else tuple(m for m in found if caller.may_use(m.name))

    def model_request(
        self,
        reference: str,
        by_header: EngineSetting | None = None,
        purpose: Purpose = Purpose.GENERATE,
        load: LoadSettings = AS_CONFIGURED,
    ) -> ModelRequest:
        """Return what a request asks for.

        Args:
            reference: `name`, perhaps with `+adapter`, `@engine` or both; as other tools write it (`names_meant`). Or a
                selector such as `auto:small`, perhaps with `@engine`.
            by_header: The engine that the header X-Mlxr-Engine names, or None.

        Raises:
            InvalidModelNameError: No valid reference.
            InvalidRequestError: Name and header want engines that differ.
            ModelNotFoundError: There is no such model, or it has no such adapter, or nothing is selected.
        """
        wanted = wanted_by(reference)
        if wanted is not None and not self._is_name(reference):
            return self._selected(reference, wanted, by_header, purpose, load)
        model, engine, adapter = self._meant(reference)
        _check_engines(engine, by_header)
        if adapter is not None:
            find_adapters(model, adapter)
        note_model(model.name)
        return ModelRequest(model.name, engine or by_header, purpose, load, adapter=adapter)

    def named(self, reference: str) -> Model:
        """Return a model as a client calls it, by no selector; errors as in `model_request`."""
        if wanted_by(reference) is not None and not self._is_name(reference):
            raise InvalidRequestError(f"model: {reference!r:.80} chooses among models; name the one you mean", "model")
        return self.get(self.model_request(reference, purpose=Purpose.DESCRIBE).model)

    def selection(self, wanted: Wanted) -> Selection:
        """Return which model a selector means now, of those that are for whoever asks, and why."""
        return select([candidate_of(each, can_see=self.can_see, auto=self.auto) for each in self.list()], wanted)

    def selected_anew(self, model_request: ModelRequest, image_param: str) -> ModelRequest | None:
        """Return what a selector means for a request with a picture; None = none was used, or nothing sees."""
        wanted = wanted_of(model_request, has_picture=True)
        chosen = None if wanted is None else self.selection(wanted).chosen
        return None if chosen is None else replace(model_request, model=chosen.model, image_param=image_param)

    def _selected(
        self, reference: str, name: str, by_header: EngineSetting | None, purpose: Purpose, load: LoadSettings
    ) -> ModelRequest:
        """Return the request for what a selector means; arguments and errors as in `model_request`."""
        if purpose is Purpose.EMBED:
            raise InvalidRequestError("model: vectors of different models cannot be compared; name one model", "model")
        _, named, adapter = parse_model_reference(reference.strip())
        if adapter is not None:
            raise InvalidRequestError(f"model: {PREFIX}{name} takes no adapter; name the model", "model")
        _check_engines(named, by_header)
        setting = named or by_header
        engine = None if setting is None else setting.engine
        selection = self.selection(Wanted(name, None if engine is None else engine.kind))
        if selection.chosen is None:
            raise NothingSelectedError(selection)
        note_model(selection.chosen.model)
        return ModelRequest(selection.chosen.model, setting, purpose, load, selector=PREFIX + name)

    def _is_name(self, reference: str) -> bool:
        """Tell whether a model or an alias is called so, as it may since before selectors."""
        name = reference.strip().lower().partition("@")[0].partition("+")[0]
        return any(name == each.name or name in each.aliases for each in self.list())

    def _meant(self, reference: str) -> tuple[Model, EngineSetting | None, str | None]:
        """Return the model, engine and adapter of a reference; the error is that of what it says to the letter."""
        first: RegistryError | None = None
        for candidate in names_meant(reference):
            try:
                name, engine, adapter = parse_model_reference(candidate)
                return self.get(name), engine, adapter
            except ModelNotFoundError as exc:
                first = exc if first is None or isinstance(first, InvalidModelNameError) else first
            except InvalidModelNameError as exc:
                first = first or exc
        assert first is not None
        if isinstance(first, ModelNotFoundError) and first.name == RESERVED_NAME:
            raise ModelNotFoundError(RESERVED_NAME, [PREFIX + name for name in BUILT_IN])
        raise first

    def resolve(self, model_request: ModelRequest) -> Choice:
        """Return the artifact and engine that a request means under the settings in force.

        Raises:
            RouterError: The request cannot be met.
            RegistryError: The model is gone, or the registry cannot be read.
        """
        model = self.get(model_request.model)
        choice = self._chosen(model, model_request)
        if choice.target.is_remote:
            return choice
        problem = self._files.why_not(model, choice)
        if problem is None and not self.is_avoided(choice.target):
            return choice
        other = self._chosen(model, model_request, frozenset({choice.target.engine.kind}))
        is_other = other.target.engine != choice.target.engine and not self.is_avoided(other.target)
        if is_other and self._files.why_not(model, other) is None:
            return other
        if problem is not None:
            raise problem
        return choice

    def _chosen(
        self, model: Model, model_request: ModelRequest, failing: Container[EngineKind] = frozenset()
    ) -> Choice:
        """Return what a request means, whatever has become of the files.

        Args:
            failing: Engines that cannot load the model now.
        """
        config, offers = self._current.config, self.offers.of(model.name)

        def here(requested: EngineSetting | None, fallback: EngineFallback | None) -> Choice:
            return self._chosen_here(model, replace(model_request, engine=requested), fallback, failing)

        choice = choose_anywhere(
            model,
            model_request,
            offers,
            global_setting=config.engine,
            fallback=config.engine_fallback,
            pick=lambda those: self.offers.picked(those, model_request),
            here=here,
            here_s=lambda choice: self._expected_s(model, model_request, choice),
            failing=failing,
        )
        return (
            choice if model_request.keep_alive_s is None else replace(choice, keep_alive_s=model_request.keep_alive_s)
        )

    def _chosen_here(
        self,
        model: Model,
        model_request: ModelRequest,
        fallback: EngineFallback | None,
        failing: Container[EngineKind],
    ) -> Choice:
        """Return which engine of this machine serves."""
        param = model_request.image_param
        return choose(
            model,
            requested=model_request.engine,
            global_setting=self._current.config.engine,
            is_apple_silicon=self._is_apple_silicon,
            purpose=model_request.purpose,
            load=model_request.load,
            adapter=model_request.adapter,
            picture=None if param is None else PictureNeed(param, self.model_that_sees, self._cannot_see),
            pick_auto=lambda artifacts: self._picked(model.name, artifacts, model_request),
            find_draft=lambda name: draft_source(name, self._draft_model(name), model.name),
            fallback=fallback,
            failing=failing,
        )

    def can_see(self, model: Model) -> bool:
        """Tell whether a model is shown the pictures of requests that name no engine."""
        setting = model.engine or self._current.config.engine
        those = seeing(usable_artifacts(model, Purpose.GENERATE), self._cannot_see)
        has_engine = bool(those) if setting.engine is None else setting.engine.kind in those
        return has_engine and model.settings.vision != "off"

    def model_that_sees(self) -> str | None:
        """Return the name of a model that can be shown pictures, that which was used last of several; None = none."""
        those = filter(self.can_see, self.list())
        last = max(those, key=lambda model: model.last_used_at or 0.0, default=None)
        return None if last is None else last.name

    def note_choice(self, model_request: ModelRequest, choice: Choice) -> None:
        """Take over that a request goes where `resolve` said; what `auto` decides next hangs on it."""
        self._usage.tell_fallback(choice)
        if self.auto is None or choice.reason is not EngineReason.AUTO_MEASURED:
            return
        artifacts = usable_artifacts(self.get(model_request.model), model_request.purpose)
        decision = self.auto.decide(choice.target.model, artifacts, model_request.size)
        self.auto.note(choice.target.model, choice.target.engine.kind, model_request.size, decision)

    def _expected_s(self, model: Model, model_request: ModelRequest, choice: Choice) -> float | None:
        """Return how long an engine of this machine would take, by what was measured; None = nothing was."""
        if self.auto is None:
            return None
        artifacts = usable_artifacts(model, model_request.purpose)
        return self.auto.expected_s(model.name, artifacts, choice.target.engine.kind, model_request.size)

    def _picked(
        self, model: str, artifacts: Mapping[EngineKind, Artifact], model_request: ModelRequest
    ) -> EngineKind | None:
        """Return the engine that is expected to answer sooner; the benchmark measures no adapters and no embeddings."""
        if self.auto is None or model_request.purpose is not Purpose.GENERATE or model_request.adapter is not None:
            return None
        return self.auto.decide(model, artifacts, model_request.size).engine

    def note_use(self, name: str) -> None:
        """Write the time of last use, now and then; not worth an error."""
        if self._usage.note_use(name):
            self._listed = None

    def has_changed(self) -> bool:
        """Tell whether another process has changed the database since the last look."""
        try:
            return self._version is not None and self._registry.data_version != self._version
        except DatabaseError:
            return False

    def forget(self) -> None:
        """Read everything anew at the next look, as far as the registry can be read."""
        self._fresh.clear()
        self._files.forget()
        self._listed = self._version = None
        if self.auto is not None:
            self.auto.forget()

    def _forget_if_changed(self) -> None:
        version = self._registry.data_version
        if version != self._version:
            self._version = version
            self._fresh.clear()
            self._listed = None


def _check_engines(named: EngineSetting | None, by_header: EngineSetting | None) -> None:
    if None not in {named, by_header} and named != by_header:
        message = f"model says engine {named}, {ENGINE_HEADER} says {by_header}; send one of the two"
        raise InvalidRequestError(message, "model")
