"""mlxr's own endpoints: health, status, stopping a model."""
