"""mlxr's own API of what was told again of conversations that filled their context."""
