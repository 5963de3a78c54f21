"""mlxr's own API, as its endpoints name it."""

from typing import Final

from router.protocols.endpoint import Api

MLXR_API: Final = Api("mlxr", "mlxr's own API.")
