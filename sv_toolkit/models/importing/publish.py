"""The last step of every import: the model folder, where nothing else is in the way."""

from __future__ import annotations

from pathlib import Path

from sv_toolkit.errors import OutputError, plain
from sv_toolkit.io.files import make_directory
from sv_toolkit.models.network import SpeakerNetwork
from sv_toolkit.models.store import DESCRIPTION, Description, model_digest, save_model


def publish(network: SpeakerNetwork, description: Description, out: Path, overwrite: bool) -> str:
    """Write the model folder `out`; a sentence about it.

    Raises:
        OutputError: `out` is a file, or holds another model and `overwrite` is not set.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{plain(out)}: is a file; give the name of the folder to write")
    if (out / DESCRIPTION).exists() and not overwrite:
        raise OutputError(
            f"{plain(out)}: holds the model {model_digest(out)[:12]} already; --overwrite replaces it, or name another folder"
        )
    weights = dict(network.state_dict())
    save_model(make_directory(out), weights, description)
    size, dim = sum(tensor.nbytes for tensor in weights.values()) / 1e6, network.config.embedding_dim  # type: ignore[union-attr]
    return f"{plain(out)}: {size:.1f} MB, {description.feature_dim} bands to {dim} dimensions; model {model_digest(out)[:12]}"
