"""One model over several processes, or hosts, by MLX's own distribution; imported only where a load has hosts."""
