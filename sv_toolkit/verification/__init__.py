"""Verification: enrolled speakers in a store, and decisions about recordings and streams."""
