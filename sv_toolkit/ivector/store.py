"""The folder an i-vector system lives in: `ivector.safetensors` and `ivector.json`; neither can run code.

`ivector.json` holds what extraction needs besides the arrays, and their digest.  It is written last.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sv_toolkit import __version__
from sv_toolkit.config import as_table, build
from sv_toolkit.errors import MALFORMED, ModelError, examples, plain
from sv_toolkit.io.files import make_directory, read_json, regular_file, sha256_bytes, whole_binary, write_text
from sv_toolkit.ivector.config import IvectorConfig
from sv_toolkit.ivector.gmm import FullGmm
from sv_toolkit.ivector.total_variability import TotalVariability

FORMAT = 1
WEIGHTS, DESCRIPTION, UBM = "ivector.safetensors", "ivector.json", "ubm.safetensors"
ALIGNMENTS = ("ubm", "posteriors")
MAX_DESCRIPTION_BYTES = 1 << 24


@dataclass(frozen=True)
class Description:
    """What a system is, apart from its arrays.

    Attributes:
        alignment: "ubm", or "posteriors" where these have to be given.
        feature_dim: columns of feats.scp.
        features: how these were made (the manifests "mfcc", "vad", ...), where known.
        provenance: digest of the training data, log-likelihoods.
    """

    config: IvectorConfig
    alignment: str
    feature_dim: int
    features: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def frame_dim(self) -> int:
        """Columns of the frames, deltas included."""
        return self.feature_dim * (self.config.frames.delta_order + 1)


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Write a safetensors file, whole or not at all; its size and digest."""
    blob = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    with whole_binary(path) as stream:
        stream.write(blob)
    return {"size": len(blob), "sha256": sha256_bytes(blob)}


def read_arrays(path: Path, shapes: dict[str, tuple[int, ...]], known: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, strictly those of `shapes`.

    Args:
        known: size and digest that the file must have.

    Raises:
        ModelError: it is missing, truncated, corrupt, or holds other arrays.
    """
    if not regular_file(path):
        raise ModelError(f"{plain(path)}: missing: {plain(path.parent)} is not a folder of i-vectors, or its training has not finished")
    blob = path.read_bytes()
    if known is not None and len(blob) != known["size"]:
        raise ModelError(f"{plain(path)}: {len(blob)} bytes, {known['size']} were written: truncated, or of another model")
    if known is not None and sha256_bytes(blob) != known["sha256"]:
        raise ModelError(f"{plain(path)}: corrupt: its checksum is not the one in {DESCRIPTION}")
    try:
        arrays = load(blob)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelError(f"{plain(path)}: not a safetensors file: {plain(error)}") from None
    _refuse_other_arrays(path, arrays, shapes)
    return arrays


def _refuse_other_arrays(path: Path, arrays: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]]) -> None:
    if arrays.keys() != shapes.keys():
        odd = sorted(arrays.keys() ^ shapes.keys())
        raise ModelError(f"{plain(path)}: does not fit {DESCRIPTION}: {len(odd)} arrays are missing or unexpected: {examples(odd)}")
    for name, array in arrays.items():
        if array.shape != shapes[name] or array.dtype != np.float64:
            raise ModelError(f"{plain(path)}: {name} is {array.dtype} {array.shape}, {DESCRIPTION} asks for float64 {shapes[name]}")
        if not np.isfinite(array).all():
            raise ModelError(f"{plain(path)}: {name} holds values that are not finite")


def gmm_arrays(gmm: FullGmm) -> dict[str, np.ndarray]:
    """The arrays of a mixture by name."""
    return {"weights": gmm.weights, "means": gmm.means, "covariances": gmm.covariances}


def gmm_shapes(num_components: int, dim: int) -> dict[str, tuple[int, ...]]:
    """The shapes of `gmm_arrays`."""
    return {"weights": (num_components,), "means": (num_components, dim), "covariances": (num_components, dim, dim)}


def make_gmm(arrays: dict[str, np.ndarray], where: Path) -> FullGmm:
    """The mixture of arrays that were read from `where`.

    Raises:
        ModelError: a weight is not positive, or a covariance is none.
    """
    gmm = FullGmm(arrays["weights"], arrays["means"], arrays["covariances"])
    try:
        usable = bool((gmm.weights > 0).all() and np.isfinite(gmm.constants).all())
    except np.linalg.LinAlgError:
        usable = False
    if not usable:
        raise ModelError(f"{plain(where)}: weights or covariances are not positive")
    return gmm


def save_system(folder: Path, gmm: FullGmm, total: TotalVariability, description: Description) -> None:
    """Write the folder; the description comes last."""
    make_directory(folder)
    known = write_arrays(folder / WEIGHTS, {**gmm_arrays(gmm), "matrix": total.matrix, "offsets": total.offsets})
    content = {
        "format": FORMAT,
        "toolkit_version": __version__,
        **vars(description),
        "config": as_table(description.config),
        "weights": known,
    }
    write_text(folder / DESCRIPTION, json.dumps(content, indent=1, sort_keys=True) + "\n")


def read_description(folder: Path) -> tuple[Description, dict[str, Any]]:
    """The description, and size and digest of the arrays.

    Raises:
        ModelError: not such a folder, damaged, or from a newer version.
    """
    where = folder / DESCRIPTION
    if not regular_file(where) or where.stat().st_size > MAX_DESCRIPTION_BYTES:
        raise ModelError(f"{plain(where)}: missing or no description: {plain(folder)} is not a folder that sv-train-ivector has finished")
    try:
        content = read_json(where)
        if content["format"] != FORMAT:
            raise ModelError(
                f"{plain(where)}: format version {plain(content['format'])}, this toolkit ({__version__}) reads version {FORMAT}"
            )
        if content["alignment"] not in ALIGNMENTS:
            raise ModelError(f"{plain(where)}: alignment must be one of {', '.join(ALIGNMENTS)}")
        description = Description(
            build(IvectorConfig, content["config"], f"{plain(where)}: config"),
            content["alignment"],
            int(content["feature_dim"]),
            {kind: {**made, "config": dict(made["config"])} for kind, made in content["features"].items()},
            dict(content["provenance"]),
        )
        return description, {"size": int(content["weights"]["size"]), "sha256": str(content["weights"]["sha256"])}
    except MALFORMED:
        raise ModelError(f"{plain(where)}: is not a description of an i-vector system, or it is truncated") from None


def load_system(folder: Path) -> tuple[FullGmm, TotalVariability, Description]:
    """Everything in the folder.

    Raises:
        ModelError: something is missing, damaged or does not fit.
    """
    description, known = read_description(folder)
    config, dim = description.config, description.frame_dim
    num_components, size = config.ubm.num_components, config.total_variability.ivector_dim
    shapes = {**gmm_shapes(num_components, dim), "matrix": (num_components, dim, size), "offsets": (num_components, dim)}
    arrays = read_arrays(folder / WEIGHTS, shapes, known)
    return make_gmm(arrays, folder / WEIGHTS), TotalVariability(arrays["matrix"], arrays["offsets"]), description
