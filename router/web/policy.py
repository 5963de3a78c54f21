"""The headers of the page: nothing runs, loads or connects that is not the server's own."""

from typing import Final

# Scripts and styles from files only; no string becomes markup or code (Trusted Types).
# Source: CSP 3, sections 6.1 to 6.5; Trusted Types, section 4.5.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

PAGE_HEADERS: Final = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)
"""On everything below /ui/."""

ASKED_AGAIN: Final = (b"cache-control", b"no-cache")
"""A browser may keep it, and asks each time whether it has changed."""

KEPT: Final = (b"cache-control", b"public, max-age=31536000, immutable")
"""A browser never asks again: what changes has another address."""
