"""Decisions: typed questions over one shared state, answered by the likelihoods of labels; in two protocols' shapes."""
