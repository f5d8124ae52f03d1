"""A published ONNX graph `features -> embedding`, as of WeSpeaker and 3D-Speaker, to a model folder.

Such graphs take Kaldi's log-mel filter banks, the mean of every band over the utterance subtracted, of all frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sv_toolkit.config import as_table
from sv_toolkit.errors import DataError, ModelError, plain
from sv_toolkit.features.fbank_config import FbankConfig
from sv_toolkit.features.prepare import InputConfig
from sv_toolkit.io.files import regular_file, sha256_bytes
from sv_toolkit.models.importing.publish import publish
from sv_toolkit.models.onnx_graph import LARGEST, OnnxGraph, OnnxGraphConfig, checked, open_session, output_of, run_graph
from sv_toolkit.models.store import Description, WindowConfig

WHOLE = 30_000  # frames; five minutes are one window, so that memory stays bounded
PROBES = (150, 217)  # frames of made-up utterances on which a graph must run
ALIKE = 1e-4  # share of the largest coordinate by which a batch and one utterance may differ
MAX_MEAN_BYTES = 1 << 22


@dataclass(frozen=True)
class ImportOptions:
    """What a graph does not say of itself.

    Attributes:
        features: of the recordings; its number of bands must be that of the graph.
        cmvn: of `InputConfig`.
        window, shift: frames of the sliding window; None: whole utterances up to `WHOLE` frames, and half a window.
        shortest: fewest frames that give an embedding.
        output: name of the output that is the embedding; None where the graph has only one.
        mean: file of the vector to subtract from embeddings: NumPy's .npy, or numbers, perhaps in Kaldi's brackets.
        overwrite: replace another model.
    """

    features: FbankConfig = field(default_factory=lambda: FbankConfig(num_mel_bins=80, window_type="hamming"))
    cmvn: str = "utterance"
    window: int | None = None
    shift: int | None = None
    shortest: int = 40
    output: str | None = None
    mean: Path | None = None
    overwrite: bool = False


def import_onnx(source: Path, out: Path, options: ImportOptions) -> str:
    """Write the model folder `out`; a sentence about what was done.

    Raises:
        ModelError: the graph is damaged, hostile, or not one from features to an embedding.
        OutputError: `out` holds something else.
    """
    if not regular_file(source):
        raise ModelError(f"{plain(source)}: no such file; give the .onnx file of the model")
    if source.stat().st_size >= LARGEST:
        raise ModelError(f"{plain(source)}: {source.stat().st_size} bytes: an ONNX file has less than {LARGEST}")
    content = source.read_bytes()
    try:
        description = _described(content, options)
    except ModelError as error:
        raise ModelError(f"{plain(source)}: {error}") from None
    network = OnnxGraph(description.feature_dim, OnnxGraphConfig(**description.network))
    network.graph.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    if options.mean is not None:
        network.mean.copy_(torch.from_numpy(read_mean(options.mean, network.config.embedding_dim)))
    return publish(network, description, out, options.overwrite)


def _described(content: bytes, options: ImportOptions) -> Description:
    model = checked(content)
    name, dims = _input(model)
    feature_dim = options.features.dim
    if isinstance(dims[2], int) and dims[2] != feature_dim:
        raise ModelError(f"its input {plain(name)} takes {dims[2]} bands, the features have {feature_dim}; --num-mel-bins {dims[2]}")
    windows = _windows(dims[1], options)
    network = _probed(content, name, _output(model, options.output), dims, feature_dim, windows)
    return Description(
        "onnx",
        as_table(network),
        feature_dim,
        InputConfig(cmvn=options.cmvn, use_vad=False, scale=1.0),
        windows,
        {"fbank": {"config": as_table(options.features)}},
        {"source": "onnx", "sha256": sha256_bytes(content)},
    )


def _input(model: Any) -> tuple[str, list[int | None]]:
    """Name and axes `(batch, num_frames, feature_dim)` of the only input; None for an axis of any size."""
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    if len(inputs) != 1:
        raise ModelError(f"it has {len(inputs)} inputs, needed is one: features (batch, num_frames, feature_dim)")
    kind = inputs[0].type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in kind.shape.dim]
    if kind.elem_type != 1 or len(dims) != 3:
        raise ModelError(f"its input {plain(inputs[0].name)} is not float32 of three axes (batch, num_frames, feature_dim)")
    return inputs[0].name, dims


def _output(model: Any, wanted: str | None) -> str:
    names = [value.name for value in model.graph.output]
    if wanted is None and len(names) != 1:
        raise ModelError(f"it has {len(names)} outputs, {plain(', '.join(names[:10]))}; --output says which is the embedding")
    if wanted is not None and wanted not in names:
        raise ModelError(f"it has no output {plain(wanted)}; it has {plain(', '.join(names[:10]))}")
    return wanted or names[0]


def _windows(num_frames: int | None, options: ImportOptions) -> WindowConfig:
    """The window; a graph of a fixed number of frames takes no other."""
    if num_frames is None:
        window = options.window or WHOLE
        shift = options.shift or (window if options.window is None else max(window // 2, 1))
        return WindowConfig(window, shift, min(options.shortest, window))
    if options.window not in (None, num_frames):
        raise ModelError(f"it takes {num_frames} frames, no more and no fewer; --window {num_frames}")
    return WindowConfig(num_frames, options.shift or max(num_frames // 2, 1), num_frames)


def _probed(content: bytes, name: str, output: str, dims: list[int | None], feature_dim: int, windows: WindowConfig) -> OnnxGraphConfig:
    """The graph runs on made-up utterances, as short as the window allows, and gives finite vectors of one dimension."""
    if dims[0] not in (None, 1):
        raise ModelError(f"its batch is fixed at {dims[0]}; needed is any size, or 1")
    session, rng = open_session(content, 1), np.random.default_rng(0)
    lengths = sorted({windows.shortest, *(min(max(count, windows.shortest), windows.window) for count in PROBES)})
    frames = [rng.standard_normal((2, count, feature_dim), dtype=np.float32) for count in lengths]
    embedding_dim = _dimension(session, frames[-1][:1], name, output)
    config = OnnxGraphConfig(len(content), embedding_dim, name, output, batched=False)
    alone = [np.concatenate([run_graph(session, pair[:1], config), run_graph(session, pair[1:], config)]) for pair in frames]
    return OnnxGraphConfig(len(content), embedding_dim, name, output, dims[0] is None and _batches_alike(session, frames, alone, config))


def _dimension(session: Any, frames: np.ndarray, name: str, output: str) -> int:
    found = output_of(session, frames, name, output)
    shape: Any = getattr(found, "shape", ())
    if len(shape) != 2 or shape[0] != 1 or shape[1] < 2:
        raise ModelError(f"its output {plain(output)} has shape {shape} for one utterance, needed is (1, embedding_dim)")
    return int(shape[1])


def _batches_alike(session: Any, frames: list[np.ndarray], alone: list[np.ndarray], config: OnnxGraphConfig) -> bool:
    """Whether two utterances at once give what each gives alone."""
    for pair, single in zip(frames, alone):
        try:
            together = run_graph(session, pair, config)
        except ModelError:
            return False
        if np.abs(together - single).max() > ALIKE * np.abs(single).max():
            return False
    return True


def read_mean(path: Path, dim: int) -> np.ndarray:
    """The vector `(dim,)` float32 in a .npy file, or in a text of numbers, perhaps in Kaldi's brackets.

    Raises:
        DataError: it cannot be read, or has another dimension or numbers that are not finite.
    """
    try:
        if path.stat().st_size > MAX_MEAN_BYTES:
            raise DataError(f"{plain(path)}: {path.stat().st_size} bytes is too large for one vector")
        found = (
            np.load(path, allow_pickle=False) if path.suffix == ".npy" else np.array(path.read_text().strip(" \n[]").split(), dtype=float)
        )
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{plain(path)}: not a vector of numbers: {plain(error)}") from None
    vector = np.asarray(found)
    if vector.dtype.kind not in "fiu" or vector.size != dim or not np.isfinite(vector).all():
        raise DataError(
            f"{plain(path)}: needed are {dim} finite numbers, one for each coordinate of the embedding; got {vector.size} of {vector.dtype}"
        )
    return vector.reshape(dim).astype(np.float32)
