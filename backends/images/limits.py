"""How large an image may be; beyond these it is refused before its pixels are decoded."""

MAX_IMAGE_BYTES = 20 * 2**20
"""Length of a file, not of its base64."""
MAX_IMAGE_PIXELS = 40_000_000
"""Width times height. Decoding takes at most 8 bytes for each, and 3 more where nothing is shrunk."""
MAX_ASPECT = 200
"""Longer side to shorter one. Source: libmtmd refuses Idefics3's beyond it, Qwen's `smart_resize` as well."""
MAX_SCANNED_PIXELS = 2_000_000_000
"""Pixels times scans of a progressive JPEG: each scan walks over the whole picture, however few bytes it has."""
