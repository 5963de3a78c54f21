"""Documents to Markdown: each is read in a process of its own, which is confined and may fail as it likes.

The gateway looks at first bytes, starts that process and keeps what came of it for a while; whatever parses a document
is in `formats/` and is imported by the child alone.
"""
