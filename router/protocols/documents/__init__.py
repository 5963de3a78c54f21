"""Documents in requests and by themselves: what is sent, its bytes, and what a model is shown of it."""
