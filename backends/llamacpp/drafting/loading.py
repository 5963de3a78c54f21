"""Loads the model that drafts for another one, if it is there and has the same vocabulary."""

import os
from pathlib import Path
from typing import Any, Final, NamedTuple

import llama_cpp
import msgspec

from backends.base import WHY_NO_DRAFTS
from backends.errors import LoadError
from backends.llamacpp.caches import has_states
from backends.llamacpp.context import Context
from backends.llamacpp.drafting.model import DraftModel
from backends.llamacpp.library import LibraryLog
from backends.llamacpp.loading import context_length, context_params, load_model, num_first_cells
from backends.machine.current import current_platform
from backends.wire.load import DraftSpec, LoadedDraftModel, LoadSpec

MAX_SIZE_DIFFERENCE: Final = 128
"""Tokens at the end that one vocabulary may have more. Source: llama.cpp, common/speculative.cpp,
`SPEC_VOCAB_MAX_SIZE_DIFFERENCE`: models of one family are padded to different lengths."""


class LoadedDraft(NamedTuple):
    """A draft model, or why the main one does without.

    Attributes:
        why_not: None also where none is wanted.
        context_bytes: What its context took of the memory.
    """

    model: DraftModel | None = None
    why_not: str | None = None
    context_bytes: int = 0

    def described(self, spec: LoadSpec) -> LoadedDraftModel | None:
        """Return what is told of it."""
        if self.model is None or spec.draft is None:
            return None
        return LoadedDraftModel(
            name=spec.draft.name,
            context_length=self.model.context_length,
            memory_bytes=llama_cpp.llama_model_size(self.model.pointer) + self.context_bytes,
        )


def load_draft(spec: LoadSpec, main: object, log: LibraryLog) -> LoadedDraft:
    """Load what drafts for a model, with a context of its own.

    Args:
        main: The model's `llama_model_p`.

    Raises:
        LoadError: Its vocabulary is another one.
    """
    draft = spec.draft
    if draft is None:
        return LoadedDraft()
    why_not = (WHY_NO_DRAFTS if has_states(main) else None) or draft.why_not or _why_missing(draft)
    if why_not is not None:
        return LoadedDraft(why_not=why_not)
    own = _spec_of(spec, draft)
    try:
        model = load_model(own, lambda _share: None, log)
    except LoadError as exc:
        return LoadedDraft(why_not=str(exc))
    difference = vocabulary_difference(main, model)
    if difference is not None:
        llama_cpp.llama_model_free(model)
        raise LoadError(
            f"draft: '{draft.name}' cannot draft for this model, its vocabulary is another one: {difference}; choose a "
            "smaller model of the same family, or take the setting away: mlxr models set NAME draft="
        )
    return _with_context(own, draft, model, main, log)


def _why_missing(draft: DraftSpec) -> str | None:
    return None if Path(draft.model_path).is_file() else f"the file of '{draft.name}' is gone: {draft.model_path}"


def _spec_of(spec: LoadSpec, draft: DraftSpec) -> LoadSpec:
    """Return how a draft model is loaded: as the main one, but as a text model with caches of its own plain type."""
    return msgspec.structs.replace(
        spec,
        model_path=draft.model_path,
        context_length=draft.context_length,
        kv_cells=draft.kv_cells,
        kv_type=None,
        cache_slots=0,
        vision=None,
        adapter_path=None,
        draft=None,
    )


def _with_context(spec: LoadSpec, draft: DraftSpec, model: object, main: object, log: LibraryLog) -> LoadedDraft:
    if has_states(model):
        llama_cpp.llama_model_free(model)
        return LoadedDraft(why_not=f"'{draft.name}' cannot draft: its cache cannot be cut behind a wrong token")
    params: Any = context_params(model, spec, 0)
    params.swa_full = True
    before = _anonymous_bytes()
    first = num_first_cells(model, spec, params)
    context = Context(model, params, first, log, checks_memory=spec.checks_memory)
    if not context.is_made:
        llama_cpp.llama_model_free(model)
        return LoadedDraft(why_not=f"llama.cpp could not make a context of {first} tokens for '{draft.name}'")
    context_bytes = max(0, _anonymous_bytes() - before)
    return LoadedDraft(DraftModel(model, context, params, context_length(model, spec), main), None, context_bytes)


def _anonymous_bytes() -> int:
    footprint = current_platform().footprint_of(os.getpid())
    return 0 if footprint is None else footprint.anonymous_bytes


def vocabulary_difference(main: object, draft: object) -> str | None:
    """Return in what two models' vocabularies differ first; None = one can draft for the other.

    Args:
        main: A loaded `llama_model_p`, as `draft`.
    """
    ours, theirs = llama_cpp.llama_model_get_vocab(main), llama_cpp.llama_model_get_vocab(draft)
    kinds = llama_cpp.llama_vocab_type(ours), llama_cpp.llama_vocab_type(theirs)
    if kinds[0] != kinds[1]:
        return f"its kind is {kinds[1]}, the model's is {kinds[0]}"
    sizes = llama_cpp.llama_vocab_n_tokens(ours), llama_cpp.llama_vocab_n_tokens(theirs)
    if abs(sizes[0] - sizes[1]) > MAX_SIZE_DIFFERENCE:
        return f"it has {sizes[1]} tokens, the model has {sizes[0]}"
    for name, get in (("bos", llama_cpp.llama_vocab_bos), ("eos", llama_cpp.llama_vocab_eos)):
        ids = get(ours), get(theirs)
        if ids[0] != ids[1]:
            return f"its {name} token is {ids[1]}, the model's is {ids[0]}"
    for token_id in range(min(sizes)):
        texts = llama_cpp.llama_vocab_get_text(ours, token_id), llama_cpp.llama_vocab_get_text(theirs, token_id)
        if texts[0] != texts[1]:
            return f"its token {token_id} is {_shown(texts[1])}, the model's is {_shown(texts[0])}"
    return None


def _shown(text: bytes | None) -> str:
    return repr((text or b"").decode(errors="replace"))[:40]
