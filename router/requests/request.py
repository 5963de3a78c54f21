"""What a protocol's route wants generated, and the messages to a worker that ask for it."""

from typing import Final

import msgspec

from backends.wire.messages import Generate
from backends.wire.prompts import ForkPrompt, Prompt
from backends.wire.request import SequenceSpec
from router.http.caller import current_caller
from router.models.model_request import ModelRequest
from router.models.size import size_of
from router.requests.context_wish import ContextWish

NUM_SEEDS: Final = 2**32 - 1
"""Seeds are taken modulo this: llama.cpp reads 2**32 - 1 as "no seed". Source: llama.h, LLAMA_DEFAULT_SEED."""


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a protocol's route wants generated.

    Attributes:
        prompts: What to continue; each gets `num_choices` answers.
        spec: The same for all, but for the seed: the i-th answer of a prompt has the seed plus i.
        prompt_param: The request's field that carries the prompt, for errors.
        num_choices: Answers per prompt, >= 1; they share the prompt's evaluation.
        wants_progress: Whether `ProgressEvent`s are wanted.
        is_prompt_told_once: Whether only the first answer to a prompt tells of it, and the others share its evaluation.
        slot: The place in the batch that the first answer is to be called by, where it is free; None = any.
        owner: As `SequenceSpec` has it.
        context: What is wanted where the conversation fills the context; None = it does not say.
        kept_in: Where its conversation is kept, as `router.stores.contexts.Wind` has it; None = nowhere.
        labels: Of each prompt the texts, of one token each, of which its answer is one; () = answers are free.
        is_stored: Whether what is made of the conversation may be on the disk.
    """

    model_request: ModelRequest
    prompts: tuple[Prompt, ...]
    spec: SequenceSpec
    prompt_param: str = "messages"
    num_choices: int = 1
    wants_progress: bool = False
    is_prompt_told_once: bool = False
    slot: int | None = None
    owner: str | None = msgspec.field(default_factory=lambda: current_caller().key_id)
    context: ContextWish | None = None
    kept_in: str | None = None
    is_stored: bool = True
    labels: tuple[tuple[str, ...], ...] = ()

    @property
    def num_sequences(self) -> int:
        """Answers in all; number p * num_choices + i is the i-th answer to prompt p."""
        return len(self.prompts) * self.num_choices


def generate_messages(request: GenerationRequest) -> list[Generate]:
    """Return one message per sequence; `WorkerLink.generate` gives them their ids.

    The first answer to a prompt has the prompt, the others are forks of it, named by its place in the list.
    """
    messages: list[Generate] = []
    spec = msgspec.structs.replace(request.spec, owner=request.owner)
    every_labels = request.labels or ((),) * len(request.prompts)
    for prompt, labels in zip(request.prompts, every_labels, strict=True):
        own = msgspec.structs.replace(spec, labels=labels) if labels else spec
        further = _without_prompt(own) if request.is_prompt_told_once else own
        fork = ForkPrompt(len(messages))
        messages.append(Generate(0, prompt, own))
        messages += [Generate(0, fork, _with_seed(further, number)) for number in range(1, request.num_choices)]
    return messages


def sized(request: GenerationRequest) -> ModelRequest:
    """Return the request for a model with how much work it is, and of which session: that decides who serves it."""
    size = size_of(request.prompts, request.spec.max_tokens)
    return msgspec.structs.replace(request.model_request, size=size, session_id=request.spec.session_id)


def _with_seed(spec: SequenceSpec, number: int) -> SequenceSpec:
    sampling = spec.sampling
    if sampling.seed is None:
        return spec
    sampling = msgspec.structs.replace(sampling, seed=(sampling.seed + number) % NUM_SEEDS)
    return msgspec.structs.replace(spec, sampling=sampling)


def _without_prompt(spec: SequenceSpec) -> SequenceSpec:
    sampling = msgspec.structs.replace(spec.sampling, num_prompt_logprobs=None)
    return msgspec.structs.replace(spec, sampling=sampling, echoes=False)
