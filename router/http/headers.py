"""The headers of mlxr's own, by name. Not here: what they may say (`router.requests.headers`)."""

from typing import Final

ENGINE_HEADER: Final = "X-Mlxr-Engine"
PRIORITY_HEADER: Final = "X-Mlxr-Priority"
SESSION_HEADER: Final = "X-Session-Id"
TIMEOUT_HEADER: Final = "X-Mlxr-Timeout"
LOAD_HEADER: Final = "X-Mlxr-Load"
PROGRESS_HEADER: Final = "X-Mlxr-Prefill-Progress"
IMAGE_SIDE_HEADER: Final = "X-Mlxr-Image-Side"
SPECULATION_HEADER: Final = "X-Mlxr-Speculation"
STRICT_HEADER: Final = "X-Mlxr-Strict"
IGNORED_HEADER: Final = b"x-mlxr-ignored"
"""Of the answer: what of the request had no effect."""
REQUEST_ID_HEADER: Final = b"x-request-id"
"""Of the answer: by which id the request is listed and can be cancelled."""
RETRIES_HEADER: Final = b"x-mlxr-retries"
"""Of an answer that began again on another worker, because the first one died: how many times it did."""
