"""Equations of the papers; tensors only."""
