"""llama-server's introspection: tokens, templates, properties and slots, in its shapes."""
