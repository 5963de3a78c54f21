"""mlxr's own endpoints: health, status, running requests, stopping a model."""
