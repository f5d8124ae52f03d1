"""Formats: bytes on disk to numpy and back; knows nothing of speech."""
