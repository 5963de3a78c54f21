"""Who is told of what happens: the owner of a state tells its observers, which decide nothing for it.

Whoever counts or shows something adds itself here, when the gateway is composed: metrics, events, shadowing.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Observers(Generic[T]):
    """Those who are told of one kind of thing."""

    def __init__(self) -> None:
        self._observers: list[Callable[[T], object]] = []

    def add(self, observer: Callable[[T], object]) -> None:
        """Tell this one as well, from now on."""
        self._observers.append(observer)

    def tell(self, what: T) -> None:
        """Call all of them, in the order in which they came."""
        for observer in self._observers:
            observer(what)
