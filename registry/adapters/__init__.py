"""LoRA adapters: small files that change a model. Their facts, the checks against their base, and registering them."""
