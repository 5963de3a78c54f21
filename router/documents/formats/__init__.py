"""From the bytes of each kind to Markdown; imported by the child alone."""
