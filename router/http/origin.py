"""What may be asked by pages of the server's own only: the guards say whose page asks, routes and stores what it may.

Any page of this machine may ask models, whatever its port; what is kept, and what changes the server, is not for the
pages of other programs. A request without an origin is no page's.
"""

from router.errors import OriginNotAllowedError
from router.http.caller import Caller


def check_own_page(caller: Caller) -> None:
    """Refuse the page of another program.

    Raises:
        OriginNotAllowedError: It is one.
    """
    if caller.is_foreign_page:
        raise OriginNotAllowedError(
            "Of web pages, only the server's own may read or change this. Add the page's origin to "
            "server.allowed_origins in the config."
        )
