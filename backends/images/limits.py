"""How large an image may be; beyond these it is refused before its pixels are decoded."""

MAX_IMAGE_PIXELS = 40_000_000
"""Width times height. Decoding takes at most 8 bytes for each, and 3 more where nothing is shrunk."""
MAX_ASPECT = 200
"""Longer side to shorter one. Source: libmtmd refuses Idefics3's beyond it, Qwen's `smart_resize` as well."""
MAX_SCANNED_PIXELS = 2_000_000_000
"""Pixels times scans of a JPEG: each scan walks over the whole picture, however few bytes it has."""
MAX_PNG_CHUNKS = 50_000
"""The pixels of the largest file in pieces of 400 bytes; writers take 8192 and more."""
MAX_JPEG_MARKERS = 500_000
"""Bytes FF, of which the compressed data of the largest file has 82,000."""
