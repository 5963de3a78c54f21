"""Verbs that ask a model: one answer, a conversation, reports of pictures."""
