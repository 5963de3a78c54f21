"""What was told again of conversations that filled their context: private data of users', in a database of its own."""

from router.stores.contexts.keeper import Contexts
from router.stores.contexts.record import Beginnings, Wind, WindUse

__all__ = ["Beginnings", "Contexts", "Wind", "WindUse"]
