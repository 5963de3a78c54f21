"""What can go wrong when the command line asks a server. The text of each is one sentence for a person.

ClientError                 client_error
├── ServerUnreachableError  server_unreachable   nobody answers, or not in time
└── ServerAnswerError       the server's own     it answered with an error, or with something else than agreed
"""


class ClientError(Exception):
    """Base of what the client raises.

    Attributes:
        code: Stable, machine-readable name of the failure.
    """

    code: str = "client_error"


class ServerUnreachableError(ClientError):
    """Nobody answers at the address, or not in time."""

    code = "server_unreachable"


class ServerAnswerError(ClientError):
    """The server answered with an error, or with something else than was agreed.

    Attributes:
        status: HTTP status; of a stream that failed midway the one it began with.
    """

    def __init__(self, message: str, *, status: int, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code or "unexpected_answer"
