"""The machine and its system: what they tell of memory, cores and heat, and what they are asked to do."""
