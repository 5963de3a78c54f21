"""Guesses at what a sequence draws next, so that one step draws more than one token; pure, without a model."""
