"""Endpoints of llama-server's introspection."""

from typing import Final

from router.protocols.endpoints.base import MODEL, Parameter, row
from router.protocols.llamaserver import answer_schemas as answers
from router.protocols.llamaserver.schemas import DetokenizeRequest, TokenizeRequest
from router.protocols.openai.counting import PromptRequest

_AUTOLOAD: Final = Parameter(name="autoload", type=bool, what="false = refuse where the model is not loaded.")
_FAIL: Final = Parameter(name="fail_on_no_slot", type=bool, what="Answer 503 when no place is free.")

LLAMASERVER_ENDPOINTS: Final = (
    row("llamaserver", "POST", "/tokenize", "List a text's tokens.", answers.Tokenized, body=TokenizeRequest),
    row("llamaserver", "POST", "/detokenize", "Write the text of tokens.", answers.Detokenized, body=DetokenizeRequest),
    row(
        "llamaserver",
        "POST",
        "/apply-template",
        "Write a conversation as the model's template does.",
        answers.TemplateApplied,
        body=PromptRequest,
    ),
    row(
        "llamaserver",
        "GET",
        "/props",
        "Describe a model and the defaults of requests.",
        answers.Props,
        query=(MODEL, _AUTOLOAD),
    ),
    row(
        "llamaserver",
        "GET",
        "/slots",
        "List the places in a loaded model's batch.",
        list[answers.Slot],
        query=(MODEL, _FAIL),
    ),
)
