"""Speaker verification in the Kaldi-recipe style: d-vectors from recordings to an equal error rate.

import sv_toolkit

model = sv_toolkit.load()                          # the ready model; a folder loads another
vector = model.embed_file("a.wav").vector          # (embedding_dim,) float32 of unit length
decision = model.verify("a.wav", "b.wav")          # score, likelihood ratio, posterior, decision, its error rates
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sv_toolkit.verification.verifier import Verifier

__version__ = "0.2.0"
__all__ = ["load"]


def load(model: Path | str = "default", device: str = "auto") -> Verifier:
    """A model that takes recordings: the ready one, or that in a folder.

    Raises:
        ModelError: no such model, or a damaged one.
    """
    from sv_toolkit.models.ready import model_folder
    from sv_toolkit.verification.verifier import Verifier

    return Verifier(model_folder(model), device)
