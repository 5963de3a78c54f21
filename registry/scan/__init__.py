"""From files on disk to models in the catalogue."""
