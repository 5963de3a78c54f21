"""How models see on llama.cpp; imported in workers of models that see only."""
