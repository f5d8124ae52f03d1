"""Scoring of embeddings."""
