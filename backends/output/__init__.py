"""An answer's text taken apart while it is generated: reasoning, content, tool calls."""
