"""Model files on disk and the catalogue of them. Knows nothing of engines, of HTTP or of the config file."""
