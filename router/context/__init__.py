"""Conversations that outgrow their context: what is told as a narrative, what stays, and how one is known again."""
