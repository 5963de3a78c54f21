"""An engine without a model, for speeds and faults that the real ones cannot be told to have."""
