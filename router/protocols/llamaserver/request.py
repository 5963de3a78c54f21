"""Bodies of llama-server's completions and infillings to what the router answers, field by field.

Source: llama.cpp, tools/server/README.md, "POST /completion" and "POST /infill".
"""

import secrets
from typing import Any, Final

from backends.wire.prompts import InfillFile, InfillPrompt, Prompt, TextPrompt, TokenPrompt
from backends.wire.request import Constraint, ConstraintKind, Priority, SequenceSpec
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.models.defaults import stop_texts
from router.protocols.choice import ChosenModel
from router.protocols.fields.constraints import checked_constraint, schema_constraint
from router.protocols.fields.mlxr import refuse_winding, wished_speculation
from router.protocols.fields.sampling import answer_limit, sampling_params
from router.protocols.fields.support import refuse_unsupported
from router.protocols.images.read import NO_IMAGES, ReadImages
from router.protocols.llamaserver.images import prompt_with_images
from router.protocols.llamaserver.schemas import CompletionFields, InfillRequest, NativeCompletionRequest, PromptString
from router.protocols.openai.request import either, read_logit_bias
from router.protocols.openai.schemas import MAX_PROMPTS
from router.requests.headers import RequestHeaders
from router.requests.request import NUM_SEEDS, GenerationRequest

RANDOM_SEED: Final = 2**32 - 1
"""Stands for another seed each time. Source: llama.h, `LLAMA_DEFAULT_SEED`."""
_RANDOM_SEEDS: Final = (-1, RANDOM_SEED)
_NEVER: Final = -100.0
"""What llama-server's bias `false` becomes: the lowest that there is here."""
_OFF: Final = {"top_k": 0, "typical_p": 1.0, "top_p": 1.0, "min_p": 0.0, "temperature": 1.0}
"""The values by which samplers are off."""
_SAMPLER_LETTERS: Final = {"k": "top_k", "y": "typical_p", "p": "top_p", "m": "min_p", "t": "temperature"}
"""Source: llama.cpp, common/sampling.cpp, `common_sampler_type_to_chr`."""


def generation_for(
    request: CompletionFields, model: ChosenModel, headers: RequestHeaders, images: ReadImages = NO_IMAGES
) -> GenerationRequest:
    """Return what a request asks for."""
    refuse_unsupported(request, model.engine)
    refuse_winding(headers, request.mlxr)
    if request.n_indent and request.stream:
        raise UnsupportedFieldError(
            "n_indent is not supported together with stream: true; send one of them", "n_indent"
        )
    assert isinstance(request, NativeCompletionRequest | InfillRequest)
    prompts = (_infill(request),) if isinstance(request, InfillRequest) else prompts_of(request.prompt, images)
    return GenerationRequest(
        model_request=model.model_request,
        prompts=prompts,
        spec=_spec(request, model, headers),
        prompt_param="input_prefix" if isinstance(request, InfillRequest) else "prompt",
        num_choices=either(request, "n_cmpl", "n") or 1,
        slot=request.id_slot,
        wants_progress=bool(request.stream and (request.return_progress or request.timings_per_token)),
    )


def prompts_of(value: Any, images: ReadImages) -> tuple[Prompt, ...]:
    """Return what `prompt` names: a text, tokens, or several of both."""
    if not isinstance(value, list) or all(isinstance(item, int) for item in value):
        return (_prompt(value, "prompt", images),)
    if any(isinstance(item, int) for item in value):
        raise _mixed("prompt")
    if len(value) > MAX_PROMPTS:
        raise InvalidRequestError(f"prompt: at most {MAX_PROMPTS} prompts in one request, got {len(value)}", "prompt")
    return tuple(_prompt(item, f"prompt[{index}]", images) for index, item in enumerate(value))


def wants_no_tokens(request: CompletionFields) -> bool:
    """Tell whether the prompt is to be read in and nothing more."""
    return bool(either(request, "n_predict", "max_tokens") == 0)


def _prompt(value: Any, param: str, images: ReadImages) -> Prompt:
    if isinstance(value, str):
        return TextPrompt(value)
    if isinstance(value, PromptString):
        return prompt_with_images(value, param, images)
    if not all(isinstance(item, int) for item in value):
        raise _mixed(param)
    return TokenPrompt(value)


def _mixed(param: str) -> UnsupportedFieldError:
    problem = f"{param}: texts and token ids in one prompt are not supported; send one text, or POST /tokenize first"
    return UnsupportedFieldError(problem, param)


def _infill(request: InfillRequest) -> InfillPrompt:
    files = [InfillFile(each.filename or "tmp", each.text) for each in request.input_extra or []]
    # What the gap begins with already is one more text before it, which is how models have learned it.
    return InfillPrompt(request.input_prefix + (request.prompt or ""), request.input_suffix, files)


def _spec(request: CompletionFields, model: ChosenModel, headers: RequestHeaders) -> SequenceSpec:
    defaults = model.defaults
    num_tokens = either(request, "n_predict", "max_tokens")
    wants_ids = bool(request.return_tokens)
    num_logprobs = request.n_probs or None
    if num_logprobs is None and wants_ids and request.stream:
        num_logprobs = 0  # by which the tokens are told one by one
    return SequenceSpec(
        sampling=sampling_params(
            request,
            defaults,
            penalty_window=request.repeat_last_n,
            repetition_penalty=request.repeat_penalty,
            logit_bias=read_logit_bias(_with_numbers(request.logit_bias)),
            num_logprobs=num_logprobs,
            seed=secrets.randbelow(NUM_SEEDS) if request.seed in _RANDOM_SEEDS else request.seed,
            **_filters(request),
        ),
        max_tokens=1 if num_tokens == 0 else answer_limit(num_tokens, defaults),  # one, so that the prompt is read in
        stop=stop_texts(request.stop, defaults),
        ignore_eos=bool(request.ignore_eos),
        constraint=_constraint(request),
        priority=headers.priority or Priority.INTERACTIVE,
        session_id=headers.session_id,
        speculation=wished_speculation(headers, request.mlxr),
        wants_token_ids=wants_ids,
    )


def _filters(request: CompletionFields) -> dict[str, Any]:
    """Return the filters' values by the request, those that are not among its samplers switched off."""
    values: dict[str, Any] = {
        "temperature": None if request.temperature is None else max(0.0, request.temperature),
        "top_k": None if request.top_k is None else max(0, request.top_k),
        "top_p": request.top_p,
        "min_p": request.min_p,
        "typical_p": request.typical_p,
    }
    samplers = request.samplers
    if samplers is None:
        return values
    names = [_SAMPLER_LETTERS.get(letter, letter) for letter in samplers] if isinstance(samplers, str) else samplers
    wanted = {"typical_p" if name == "typ_p" else name for name in names}
    return values | {name: off for name, off in _OFF.items() if name not in wanted}


def _constraint(request: CompletionFields) -> Constraint | None:
    if request.grammar and request.json_schema is not None:
        raise InvalidRequestError("grammar and json_schema constrain the same answer; send one of them", "json_schema")
    if request.json_schema is not None:
        return schema_constraint(request.json_schema, "json_schema")
    return checked_constraint(ConstraintKind.GBNF, request.grammar, "grammar") if request.grammar else None


def _with_numbers(bias: Any) -> Any:
    """Return a bias whose `false` is a number."""
    if isinstance(bias, list):
        return [[pair[0], _NEVER] if isinstance(pair, list) and pair[1:] == [False] else pair for pair in bias]
    if isinstance(bias, dict):
        return {key: _NEVER if value is False else value for key, value in bias.items()}
    return bias
