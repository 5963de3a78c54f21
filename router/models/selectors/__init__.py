"""Models by what is wanted of them: `auto:small`, `auto:vision`, `auto:code` and `auto:TAG` in the place of a name."""
