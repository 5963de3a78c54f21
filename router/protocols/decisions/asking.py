"""What is generated for questions: of each one's chat one token, which is one of its labels."""

from typing import Final

from backends.wire.request import Priority, SamplingParams, SequenceSpec
from router.models.model_request import ModelRequest
from router.protocols.decisions.questions import prompt_for
from router.protocols.decisions.reading import Asked
from router.protocols.fields.mlxr import refuse_winding
from router.requests.headers import RequestHeaders
from router.requests.request import GenerationRequest

_GREEDY: Final = SamplingParams(temperature=0.0)


def decision_request(
    model_request: ModelRequest, asked: Asked, headers: RequestHeaders, *, session_id: str | None = None
) -> GenerationRequest:
    """Return what is to be generated.

    Args:
        session_id: By the body; that of the headers goes before it.

    Raises:
        UnsupportedFieldError: Older turns are to be summarised, of which there are none.
    """
    refuse_winding(headers)
    return GenerationRequest(
        model_request=model_request,
        prompts=tuple(prompt_for(asked.state, question) for question in asked.questions),
        labels=tuple(question.labels for question in asked.questions),
        spec=SequenceSpec(
            sampling=_GREEDY,
            max_tokens=1,
            priority=headers.priority or Priority.INTERACTIVE,
            session_id=headers.session_id or session_id,
        ),
        prompt_param=asked.param,
    )
