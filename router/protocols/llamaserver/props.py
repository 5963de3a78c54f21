"""A loaded model, its worker's sequences and the server's defaults as llama-server's properties and slots. Pure.

A slot is a place in the batch. It says what the gateway has seen, and nothing guessed. Values that are not known are
left out: `params`, and before the prompt is evaluated the counts of evaluated and cached tokens, which a worker tells
only where the request asks for its progress.

Source: llama.cpp, tools/server/README.md, "GET /props", "GET /slots".
"""

from typing import Final

from msgspec import UNSET, UnsetType

from backends.wire.load import LoadedModel
from backends.wire.questions import Description
from backends.wire.request import ConstraintKind, SamplingParams, SequenceSpec
from router.models.defaults import RequestDefaults
from router.protocols.llamaserver.answer_schemas import (
    DefaultSettings,
    GenerationSettings,
    Modalities,
    NextToken,
    Props,
    Slot,
)
from router.protocols.llamaserver.images import MEDIA_MARKER
from router.protocols.llamaserver.request import RANDOM_SEED
from router.requests.asking import Reply
from router.workers.streams import SequenceProgress

SAMPLERS: Final = ("penalties", "top_k", "typ_p", "top_p", "min_p", "temperature")
"""In the order of `SamplingParams`."""


def props_of(
    name: str, reply: Reply, description: Description, defaults: RequestDefaults, version: str, *, can_see: bool
) -> Props:
    """Return the properties of a model, by what its worker answered."""
    libraries = {} if reply.client.hello is None else reply.client.hello.versions
    return Props(
        default_generation_settings=DefaultSettings(_default_settings(defaults), reply.model.context_length),
        total_slots=reply.model.max_sequences,
        model_alias=name,
        model_path=reply.path,
        modalities=Modalities(vision=can_see, video=False, audio=False),
        media_marker=MEDIA_MARKER,
        endpoint_slots=True,
        endpoint_props=False,
        endpoint_metrics=False,
        chat_template=description.chat_template or "",
        bos_token=description.bos_text,
        eos_token=description.eos_text,
        build_info=" ".join([f"mlxr-{version}", *(f"{library}-{number}" for library, number in libraries.items())]),
        is_sleeping=False,
    )


def slots_of(model: LoadedModel, progress: list[SequenceProgress]) -> list[Slot]:
    """Return all slots of a loaded model."""
    by_slot = {each.slot: each for each in progress}
    num_slots = max([model.max_sequences, *(slot + 1 for slot in by_slot)])
    return [_slot(number, model, by_slot.get(number)) for number in range(num_slots)]


def settings_of(spec: SequenceSpec, *, is_stream: bool = False, has_timings: bool = False) -> GenerationSettings:
    """Return how a request's tokens are drawn, by llama-server's names."""
    sampling = spec.sampling
    max_tokens = -1 if spec.max_tokens is None else spec.max_tokens
    is_grammar = spec.constraint is not None and spec.constraint.kind is ConstraintKind.GBNF
    return GenerationSettings(
        seed=RANDOM_SEED if sampling.seed is None else sampling.seed,
        temperature=sampling.temperature,
        top_k=sampling.top_k or 0,
        top_p=sampling.top_p,
        min_p=sampling.min_p,
        typical_p=sampling.typical_p,
        repeat_last_n=-1 if sampling.repetition_window is None else sampling.repetition_window,
        repeat_penalty=sampling.repetition_penalty,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        stop=list(spec.stop),
        max_tokens=max_tokens,
        n_predict=max_tokens,
        ignore_eos=spec.ignore_eos,
        stream=is_stream,
        logit_bias=[[token_id, bias] for token_id, bias in sampling.logit_bias],
        n_probs=sampling.num_logprobs or 0,
        grammar=spec.constraint.text if is_grammar and spec.constraint is not None else "",
        samplers=list(SAMPLERS),
        timings_per_token=has_timings,
    )


def _default_settings(defaults: RequestDefaults) -> GenerationSettings:
    fields = {
        name: getattr(defaults, name) for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    }
    sampling = SamplingParams(seed=defaults.seed, **fields)
    return settings_of(SequenceSpec(sampling, defaults.max_tokens, defaults.stop))


def _slot(number: int, model: LoadedModel, progress: SequenceProgress | None) -> Slot:
    if progress is None:
        return Slot(id=number, n_ctx=model.context_length, speculative=model.why_no_drafts is None, is_processing=False)
    num_left = None if progress.max_tokens is None else max(0, progress.max_tokens - progress.num_output_tokens)
    return Slot(
        id=number,
        n_ctx=model.context_length,
        speculative=model.why_no_drafts is None,
        is_processing=True,
        id_task=progress.sequence_id,
        n_prompt_tokens=_known(progress.num_prompt_tokens),
        n_prompt_tokens_processed=_known(progress.num_evaluated),
        n_prompt_tokens_cache=_known(progress.num_cached),
        next_token=[NextToken(has_next_token=True, n_decoded=progress.num_output_tokens, n_remain=_known(num_left))],
    )


def _known(count: int | None) -> int | UnsetType:
    return UNSET if count is None else count
