"""Inference: windows, extraction, enrollment; never imports training."""
