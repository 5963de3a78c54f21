"""Who looks at what is stored: a key at its own, an administrator at everybody's."""

import msgspec

from router.http.caller import Scope, current_caller


class Viewer(msgspec.Struct, frozen=True):
    """Who looks.

    Attributes:
        key_id: Whose things are shown; None = the server's owner's.
        sees_all: Everybody's are.
    """

    key_id: str | None
    sees_all: bool

    def has(self, owner: str | None) -> bool:
        """Tell whether something of a key's is shown."""
        return self.sees_all or owner == self.key_id

    @property
    def condition(self) -> str:
        """SQL, with one value, `key_id`."""
        return "(? IS NULL OR 1)" if self.sees_all else "owner IS ?"


def current_viewer() -> Viewer:
    """Return who asks."""
    caller = current_caller()
    return Viewer(caller.key_id, sees_all=caller.scope is Scope.ADMIN)
