"""Conversations of other programs, and mlxr's own exports, to conversations that can be kept."""

from router.protocols.conversations.importing.base import Imported, Node, Problem
from router.protocols.conversations.importing.reading import Reading, read_conversations

__all__ = ["Imported", "Node", "Problem", "Reading", "read_conversations"]
