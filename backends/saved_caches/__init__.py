"""Saved caches of one artifact, and the folder that all artifacts' are in."""
