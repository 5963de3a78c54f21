"""Where other tools keep their models."""
