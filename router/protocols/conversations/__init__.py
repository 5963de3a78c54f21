"""The Conversations API: conversations that stay until they are deleted."""
