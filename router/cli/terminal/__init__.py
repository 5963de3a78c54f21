"""What all verbs share: how they are declared, what they need and how they print."""
