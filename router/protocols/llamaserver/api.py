"""llama-server's API, as its endpoints name it."""

from typing import Final

from router.protocols.endpoint import Api

LLAMASERVER_API: Final = Api("llamaserver", "llama-server's introspection.")
