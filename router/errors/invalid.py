"""What a request says that cannot be served: its fields, its JSON, its model, its length."""

from router.errors.base import RouterError


class InvalidRequestError(RouterError, code="invalid_request"):
    """A field of the request has a value that cannot be served; the message names the field."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message, param=param)


class InvalidJSONError(InvalidRequestError, code="invalid_json"):
    """The body is not one JSON object in UTF-8."""


class MissingFieldError(InvalidRequestError, code="missing_required_parameter"):
    """A required field is absent."""


class UnknownFieldError(InvalidRequestError, code="unknown_parameter"):
    """A field that this endpoint does not have."""


class UnsupportedFieldError(InvalidRequestError, code="unsupported_parameter"):
    """A field that exists in the protocol but that mlxr, or the chosen engine, cannot honour."""


class EngineNotAvailableError(InvalidRequestError, code="engine_not_available"):
    """The engine that was asked for has no artifact of this model.

    Args:
        available: The engines the model does have artifacts for.
        remedy: The command that would add the missing artifact, or `None` when there is none.
    """

    def __init__(self, model: str, engine: str, available: list[str], remedy: str | None = None) -> None:
        has = ", ".join(sorted(available)) or "none"
        hint = "" if remedy is None else f" To add one, run: {remedy}"
        super().__init__(f"The model '{model}' cannot run on '{engine}': it has artifacts for: {has}.{hint}", "model")


class ModelCannotSeeError(InvalidRequestError, code="model_cannot_see"):
    """A request has a picture, and what would serve it cannot see.

    Args:
        reference: The model, perhaps with the engine that was set.
        reason: Why not.
        way_out: What would see, or how to get such a model.
        param: The request's field that has the picture.
    """

    def __init__(self, reference: str, reason: str, way_out: str, param: str) -> None:
        super().__init__(f"{param}: the model '{reference}' cannot see pictures: {reason}; {way_out}", param)


class ContextLengthExceededError(InvalidRequestError, code="context_length_exceeded"):
    """The prompt (plus what was asked to be generated) is longer than the context.

    Args:
        message: The worker's; it says "at least" where the prompt was too long to be counted.
        num_prompt_tokens: Tokens of the prompt, or that lower bound.
        context_length: Tokens that the context holds.
    """

    def __init__(self, message: str, *, num_prompt_tokens: int, context_length: int, param: str) -> None:
        super().__init__(message, param)
        self.num_prompt_tokens = num_prompt_tokens
        self.context_length = context_length


class DocumentError(InvalidRequestError, code="invalid_document"):
    """A document cannot be read; the message begins with its name."""


class PreviousResponseNotFoundError(InvalidRequestError, code="previous_response_not_found"):
    """The response that a request goes on from is not kept, or no longer."""

    def __init__(self, response_id: str) -> None:
        super().__init__(
            f"Previous response with id {response_id!r:.80} not found: it was not stored, was deleted, or had to go by "
            "conversations.max_age_s or max_bytes of the config. Send the conversation in input.",
            "previous_response_id",
        )


class ReportCutError(InvalidRequestError, code="report_cut"):
    """A report was not complete after its second try either."""

    def __init__(self, num_tokens: int) -> None:
        super().__init__(
            f"max_tokens: the report was not complete after {num_tokens} tokens; send more if the context has room for "
            "them, or a schema whose texts and lists are bounded (maxLength, maxItems)",
            "max_tokens",
        )


class MalformedRequestError(InvalidRequestError, code="malformed_http"):
    """The HTTP message itself is wrong: target, headers or framing."""
