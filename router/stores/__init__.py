"""What the gateway keeps on disk beside the registry, in SQLite files of its own."""
