"""What all verbs share: options, output, logging, quick start."""
