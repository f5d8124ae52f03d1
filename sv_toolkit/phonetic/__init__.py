"""Phones of frames: a small network that is trained with alignments, and its posteriors for i-vectors."""
