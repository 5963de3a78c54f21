"""llama-server's own interface as a protocol: its name; its errors are OpenAI's.

Source: llama.cpp, tools/server/README.md.
"""

from typing import Final

from router.protocols.endpoint import Api

LLAMASERVER_API: Final = Api(
    "llamaserver", "llama-server's own paths: completions, infilling, embeddings, introspection."
)
