"""A Hugging Face style hub: its questions and answers over HTTP, read as those of a stranger."""

from registry.hub.answers import HubFile, RepoInfo, SearchHit
from registry.hub.client import HubClient
from registry.hub.web import HubSettings, Web

__all__ = ["HubClient", "HubFile", "HubSettings", "RepoInfo", "SearchHit", "Web"]
