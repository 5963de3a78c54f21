"""What outlives a request: responses, conversations, contexts, files, batches and other long work."""

from router.errors.base import RouterError


class ResponseNotFoundError(RouterError, code="response_not_found"):
    """No response of that id is kept: it was not stored, was deleted, or there never was one."""

    def __init__(self, response_id: str) -> None:
        super().__init__(f"Response with id {response_id!r:.80} not found.", param="response_id")


class ConversationNotFoundError(RouterError, code="conversation_not_found"):
    """No conversation of that id is kept, or it is another key's."""

    def __init__(self, conversation_id: str) -> None:
        super().__init__(f"Conversation with id {conversation_id!r:.80} not found.", param="conversation")


class ConversationItemNotFoundError(RouterError, code="item_not_found"):
    """A conversation has no item of that id."""

    def __init__(self, conversation_id: str, item_id: str) -> None:
        super().__init__(f"Item with id {item_id!r:.80} not found in conversation {conversation_id!r:.80}.")


class ConversationLockedError(RouterError, code="conversation_locked"):
    """What a request goes on from, or is to delete, is still being written."""

    def __init__(self, conversation_id: str, response_id: str) -> None:
        super().__init__(
            f"{response_id} is still being written in conversation {conversation_id!r:.80}: wait for its end, cancel "
            "it, or go on from an earlier item with conversation: {id, after}.",
            param="conversation",
        )


class ContextNotFoundError(RouterError, code="context_not_found"):
    """Nothing that was told again of a conversation is kept under that id, or it is another key's."""

    def __init__(self, context_id: str) -> None:
        super().__init__(f"Context with id {context_id!r:.80} not found.", param="context_id")


class FileNotFoundHereError(RouterError, code="file_not_found"):
    """No file of that id is kept."""

    def __init__(self, file_id: str, param: str) -> None:
        super().__init__(f"There is no file {file_id!r:.80}; GET /v1/files lists those there are.", param=param)


class FileInUseError(RouterError, code="file_in_use"):
    """A batch that has not ended reads the file."""

    def __init__(self, file_id: str, batch_id: str) -> None:
        super().__init__(f"{file_id} is read by {batch_id}, which has not ended; cancel that first.", param="file_id")


class BatchNotFoundError(RouterError, code="batch_not_found"):
    """There is no batch of that id."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(
            f"There is no batch {batch_id!r:.80}; GET /v1/batches lists those there are.", param="batch_id"
        )


class ConversionError(RouterError, code="conversion_failed"):
    """A model cannot be converted; one sentence with the way out."""


class ConversionNotFoundError(RouterError, code="conversion_not_found"):
    """Nothing is being made of that model."""


class VerificationNotFoundError(RouterError, code="verification_not_found"):
    """Nothing is being verified for whoever asks."""


class BenchError(RouterError, code="invalid_bench"):
    """A benchmark cannot be run as it was asked for, or could not be run to an end."""


class BenchRunningError(BenchError, code="bench_running"):
    """Another benchmark runs: two at once would measure each other."""

    def __init__(self, message: str = "Another benchmark runs on this server; wait for its end.") -> None:
        super().__init__(message)
