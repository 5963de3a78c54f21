"""The registry's models as requests mean them: names, targets, settings, how they are loaded."""
