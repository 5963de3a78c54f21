"""Moving a model's files to another folder."""
