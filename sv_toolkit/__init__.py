"""Speaker verification in the Kaldi-recipe style: d-vectors from recordings to an equal error rate."""

__version__ = "0.1.0"
