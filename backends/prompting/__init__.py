"""From requests to tokens: conversations, templates, control tokens, limits."""
