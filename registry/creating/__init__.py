"""Models made of other models and of uploads."""
