"""The catalogue of models in SQLite: `Registry`. All SQL of the project stands here, but for opening the file.

One Registry is one connection, to be used by the thread that opened it. Opening is cheap, so a process may open as
many as it has threads. Several processes may use one catalogue: readers never wait for a writer, writers wait for each
other up to the busy timeout. Not here: looking at model files (`discovery.py`) and deleting them (`removal.py`).
"""

from registry.store.models import Registry

__all__ = ["Registry"]
