"""What our own programs send to say who asks: the key of the environment, and the token of the server of their user.

The first that is good counts, so that a key that is for another server does no harm.
"""

from collections.abc import Mapping

from router.config.capability import read_token
from router.keys.fixed import KEY_VARIABLE


def credentials(
    environ: Mapping[str, str], *, unix_socket: str | None = None, token_file: str | None = None
) -> dict[str, str]:
    """Return the headers for a running server.

    Args:
        unix_socket: Where it can be reached by; the token is for there.
    """
    key = environ.get(KEY_VARIABLE)
    token = None if unix_socket is None else read_token(token_file)
    return ({"Authorization": f"Bearer {key}"} if key else {}) | ({"x-api-key": token} if token else {})
