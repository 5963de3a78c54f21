"""What a key allows: one of three scopes, each of which has what the one before it has."""

import enum
from typing import Final


class Scope(enum.StrEnum):
    """What an endpoint needs of its caller."""

    PUBLIC = "public"
    """Nothing: it tells no secrets and changes nothing."""
    INFERENCE = "inference"
    """To ask models, and to look at what one has asked."""
    MODELS = "models"
    """To pull, load, make, set and remove models as well."""
    ADMIN = "admin"
    """Everything: also the server's settings, its keys, and what belongs to other keys."""

    def covers(self, needed: "Scope") -> bool:
        """Tell whether whoever has this may do what needs the other."""
        return _ORDER.index(self) >= _ORDER.index(needed)


_ORDER: Final = tuple(Scope)
