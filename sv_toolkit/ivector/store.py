"""The folder an i-vector system lives in: `ivector.safetensors` and `ivector.json`; neither can run code.

`ivector.json` holds what extraction needs besides the arrays, and their digest.  It is written last.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from sv_toolkit.config import as_table, build
from sv_toolkit.errors import ModelError, examples, plain
from sv_toolkit.io.described import Keeper, decoded
from sv_toolkit.io.files import regular_file, whole_binary
from sv_toolkit.ivector.config import IvectorConfig
from sv_toolkit.ivector.gmm import FullGmm
from sv_toolkit.ivector.total_variability import TotalVariability

SYSTEM = Keeper("ivector", "weights", "an i-vector system", "sv-train-ivector")
WEIGHTS, DESCRIPTION, UBM = SYSTEM.arrays, SYSTEM.description, "ubm.safetensors"
ALIGNMENTS = ("ubm", "posteriors")


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


def _blob(arrays: dict[str, np.ndarray]) -> bytes:
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a safetensors file, whole or not at all."""
    with whole_binary(path) as stream:
        stream.write(_blob(arrays))


def read_arrays(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file without a description, strictly those of `shapes`.

    Raises:
        ModelError: it is missing, truncated, or holds other arrays.
    """
    if not regular_file(path):
        raise ModelError(f"{plain(path)}: missing: {plain(path.parent)} is not a folder of i-vectors, or its training has not finished")
    arrays = decoded(path, path.read_bytes(), load)
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
    arrays = {**gmm_arrays(gmm), "matrix": total.matrix, "offsets": total.offsets}
    SYSTEM.save(folder, _blob(arrays), {**vars(description), "config": as_table(description.config)})


def read_description(folder: Path) -> tuple[Description, dict[str, Any]]:
    """The description, and size and digest of the arrays.

    Raises:
        ModelError: not such a folder, damaged, or from a newer version.
    """
    return SYSTEM.read(folder, _described)


def _described(content: dict[str, Any], where: str) -> Description:
    if content["alignment"] not in ALIGNMENTS:
        raise ModelError(f"{where}: alignment must be one of {', '.join(ALIGNMENTS)}")
    return Description(
        build(IvectorConfig, content["config"], f"{where}: config"),
        content["alignment"],
        int(content["feature_dim"]),
        {kind: {**made, "config": dict(made["config"])} for kind, made in content["features"].items()},
        dict(content["provenance"]),
    )


def load_system(folder: Path) -> tuple[FullGmm, TotalVariability, Description]:
    """Everything in the folder.

    Raises:
        ModelError: something is missing, damaged or does not fit.
    """
    description, known = read_description(folder)
    config, dim = description.config, description.frame_dim
    num_components, size = config.ubm.num_components, config.total_variability.ivector_dim
    shapes = {**gmm_shapes(num_components, dim), "matrix": (num_components, dim, size), "offsets": (num_components, dim)}
    arrays = SYSTEM.load(folder, known, load)
    _refuse_other_arrays(folder / WEIGHTS, arrays, shapes)
    return make_gmm(arrays, folder / WEIGHTS), TotalVariability(arrays["matrix"], arrays["offsets"]), description
