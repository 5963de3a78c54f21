"""API keys: what they allow, how they are kept, what of their limits is used."""
