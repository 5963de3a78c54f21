"""What clients of plain HTTP trust, and how an answer is read from a bare socket."""

import http.client
import socket
import ssl
from typing import Final

NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Nothing is trusted: to read the system's certificates costs more than what is asked over plain HTTP."""


def answer_on(sock: socket.socket) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Return status, headers and body of one answer, in however many pieces it comes."""
    with http.client.HTTPResponse(sock) as answer:
        answer.begin()
        return answer.status, answer.headers, answer.read()
