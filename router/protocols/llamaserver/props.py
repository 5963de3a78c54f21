"""A loaded model, its worker's sequences and the server's defaults as llama-server's properties and slots. Pure.

A slot is a place in the batch. It says what the gateway has seen, and nothing guessed. Values that are not known are
left out: `params`, and before the prompt is evaluated the counts of evaluated and cached tokens, which a worker tells
only where the request asks for its progress.

Source: llama.cpp, tools/server/README.md, "GET /props", "GET /slots".
"""

from msgspec import UNSET, UnsetType

from backends.wire.messages import LoadedModel
from backends.wire.questions import Description
from router.models.defaults import RequestDefaults
from router.protocols.llamaserver.answer_schemas import (
    DefaultParams,
    DefaultSettings,
    Modalities,
    NextToken,
    Props,
    Slot,
)
from router.requests.asking import Reply
from router.workers.streams import SequenceProgress


def props_of(name: str, reply: Reply, description: Description, defaults: RequestDefaults, version: str) -> Props:
    """Return the properties of a model, by what its worker answered."""
    libraries = {} if reply.client.hello is None else reply.client.hello.versions
    return Props(
        default_generation_settings=DefaultSettings(_params(defaults), reply.model.context_length),
        total_slots=reply.model.max_sequences,
        model_alias=name,
        model_path=reply.path,
        modalities=Modalities(vision=False, video=False, audio=False),
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


def _params(defaults: RequestDefaults) -> DefaultParams:
    """Return the defaults by llama-server's names, with its -1 and 0 for "no limit"."""
    max_tokens = -1 if defaults.max_tokens is None else defaults.max_tokens
    return DefaultParams(
        n_predict=max_tokens,
        max_tokens=max_tokens,
        temperature=defaults.temperature,
        top_k=defaults.top_k or 0,
        top_p=defaults.top_p,
        min_p=defaults.min_p,
        repeat_penalty=defaults.repetition_penalty,
        stop=list(defaults.stop),
    )


def _slot(number: int, model: LoadedModel, progress: SequenceProgress | None) -> Slot:
    if progress is None:
        return Slot(id=number, n_ctx=model.context_length, speculative=False, is_processing=False)
    num_left = None if progress.max_tokens is None else max(0, progress.max_tokens - progress.num_output_tokens)
    return Slot(
        id=number,
        n_ctx=model.context_length,
        speculative=False,
        is_processing=True,
        id_task=progress.sequence_id,
        n_prompt_tokens=_known(progress.num_prompt_tokens),
        n_prompt_tokens_processed=_known(progress.num_evaluated),
        n_prompt_tokens_cache=_known(progress.num_cached),
        next_token=[NextToken(has_next_token=True, n_decoded=progress.num_output_tokens, n_remain=_known(num_left))],
    )


def _known(count: int | None) -> int | UnsetType:
    return UNSET if count is None else count
