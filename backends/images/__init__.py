"""From what a client sends to what a vision tower sees: bytes to pixels, pixels to rows, rows to ids.

Pure, with Pillow and numpy; the same for both engines, which is why no engine's library is imported. Pillow is attack
surface and slow to import: only what decodes is to import this room, in a worker, never the gateway.
Not here: fetching from addresses, running the tower, keeping rows.
"""
