"""Reranking: how well documents answer a query, by models made for that, or by a chat model's decisions."""
