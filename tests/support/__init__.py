"""What several test packages share: the tiny model in both formats, drivers, waiting."""
