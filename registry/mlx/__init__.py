"""MLX folders: config.json and safetensors headers to facts."""
