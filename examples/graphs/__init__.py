"""What the scenarios share whose requests are lines of a batch that depend on each other."""
