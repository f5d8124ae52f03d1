"""An ONNX graph `features -> embedding` of other programs as a network, run by ONNX Runtime.

The bytes of the graph are a tensor of `model.safetensors`, so that the model's digest covers them.  A graph is data of
strangers: before ONNX Runtime sees it, `checked` refuses what is not standard ONNX in one self-contained file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from sv_toolkit.config import Options, Within
from sv_toolkit.errors import ConfigError, ModelError, SvError, plain
from sv_toolkit.models.network import SpeakerNetwork

STANDARD = ("", "ai.onnx")  # domains of operators that ONNX itself defines
LARGEST = 1 << 31  # bytes of a protobuf message
DEEPEST = 50  # subgraphs within subgraphs


@dataclass(frozen=True)
class OnnxGraphConfig(Options):
    """Which parts of the graph are used.

    Attributes:
        num_bytes: size of the graph.
        embedding_dim: of its output.
        input: name of the input, features `(batch, num_frames, feature_dim)`.
        output: name of the output, `(batch, embedding_dim)`.
        batched: whether it takes several utterances of equal length at once, each giving what it gives alone.
    """

    num_bytes: Annotated[int, Within(1, LARGEST)]
    embedding_dim: Annotated[int, Within(1, 1 << 16)]
    input: str = "feats"
    output: str = "embs"
    batched: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.input or not self.output:
            raise ConfigError("input and output are names of the graph, got an empty one")


class OnnxGraph(SpeakerNetwork):
    """The output of the graph, less a fixed mean vector; it is not trained.

    Attributes:
        graph: `(num_bytes,)` uint8, the file.
        mean: `(embedding_dim,)` float32, subtracted from the output.
    """

    graph: Tensor

    def __init__(self, feature_dim: int, config: OnnxGraphConfig) -> None:
        super().__init__()
        self.feature_dim, self.config = feature_dim, config
        self.register_buffer("graph", torch.zeros(config.num_bytes, dtype=torch.uint8))
        self.mean = nn.Parameter(torch.zeros(config.embedding_dim), requires_grad=False)
        self._session: Any = None

    def raw(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Each length runs by itself: a graph has no other way to pass over padding.

        Raises:
            ModelError: ONNX Runtime cannot open or run the graph, or it gives something else than finite vectors.
        """
        frames = features.detach().float().cpu().numpy()
        counts = np.full(len(frames), frames.shape[1]) if lengths is None else lengths.cpu().numpy()
        vectors = np.empty((len(frames), self.config.embedding_dim), dtype=np.float32)
        for rows in _batches(counts, self.config.batched):
            vectors[rows] = self._run(frames[rows, : counts[rows[0]]])
        return torch.from_numpy(vectors).to(features.device) - self.mean

    def _run(self, frames: np.ndarray) -> np.ndarray:
        """`(batch, embedding_dim)` of utterances of equal length `(batch, num_frames, feature_dim)`."""
        if self._session is None:
            self._session = open_session(self.graph.cpu().numpy().tobytes(), torch.get_num_threads())
        return run_graph(self._session, frames, self.config)


def _batches(counts: np.ndarray, batched: bool) -> list[np.ndarray]:
    """Rows that run together."""
    if not batched:
        return [np.array([row]) for row in range(len(counts))]
    return [np.flatnonzero(counts == count) for count in np.unique(counts)]


def run_graph(session: Any, frames: np.ndarray, config: OnnxGraphConfig) -> np.ndarray:
    """The output of the graph for `frames` `(batch, num_frames, feature_dim)` float32.

    Raises:
        ModelError: it cannot run, or gives another shape or numbers that are not finite.
    """
    found = output_of(session, frames, config.input, config.output)
    shape = getattr(found, "shape", None)
    if shape != (len(frames), config.embedding_dim) or found.dtype != np.float32:
        kind = f"{found.dtype} of shape {shape}" if isinstance(found, np.ndarray) else type(found).__name__
        wanted = f"float32 of shape {(len(frames), config.embedding_dim)}"
        raise ModelError(f"the output {plain(config.output)} of the graph is {kind}, needed is {wanted}")
    if not np.isfinite(found).all():
        raise ModelError(f"the output {plain(config.output)} of the graph holds values that are not finite (NaN or Inf)")
    return np.asarray(found)


def output_of(session: Any, frames: np.ndarray, name: str, output: str) -> Any:
    """What the graph gives for `frames` `(batch, num_frames, feature_dim)` float32, of any shape and kind.

    Raises:
        ModelError: it cannot run.
    """
    try:
        return session.run([output], {name: np.ascontiguousarray(frames)})[0]
    except Exception as error:  # ONNX Runtime's own exceptions share no other class
        raise ModelError(f"the graph cannot run on {frames.shape[1]} frames of {frames.shape[2]}: {first_line(error)}") from None


def open_session(content: bytes, num_threads: int) -> Any:
    """An ONNX Runtime session of a graph that `checked` lets pass.

    Raises:
        ModelError: what `checked` refuses, or ONNX Runtime.
    """
    checked(content)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise ModelError(f"ONNX Runtime cannot open the graph: {first_line(error)}") from None


def checked(content: bytes) -> Any:
    """The parsed graph, where it is standard ONNX and refers to nothing outside itself.

    Raises:
        ModelError: not ONNX, operators that are not ONNX's own, or tensors kept in other files.
    """
    onnx = _onnx()
    if len(content) >= LARGEST:
        raise ModelError(f"{len(content)} bytes: an ONNX file has less than {LARGEST}")
    try:
        model = onnx.load_model_from_string(content)
        for node in _nodes(model):
            _check_operator(node, model)
        for tensor in _tensors(model):
            _check_inside(tensor, onnx.TensorProto.EXTERNAL)
        onnx.checker.check_model(content)
    except SvError:
        raise
    except Exception as error:  # of protobuf and of onnx's checker, which share no class
        raise ModelError(f"not a valid ONNX graph: {first_line(error)}") from None
    return model


def _onnx() -> Any:
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise SvError(f"an ONNX graph needs onnx and onnxruntime ({error}); pip install 'sv_toolkit[export]' brings both") from None
    return onnx


def _graphs(graph: Any, depth: int = 0) -> Iterator[Any]:
    """The graph and those in the attributes of its nodes; a function has nodes as a graph has."""
    if depth > DEEPEST:
        raise ModelError(f"the graph has more than {DEEPEST} subgraphs within each other")
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from _graphs(inner, depth + 1)


def _nodes(model: Any) -> Iterator[Any]:
    for top in (model.graph, *model.functions):
        for graph in _graphs(top):
            yield from graph.node


def _tensors(model: Any) -> Iterator[Any]:
    """Every stored tensor, sparse ones in their two parts."""
    for top in (model.graph, *model.functions):
        for graph in _graphs(top):
            yield from getattr(graph, "initializer", ())
            sparse = list(getattr(graph, "sparse_initializer", ()))
            for node in graph.node:
                for attribute in node.attribute:
                    yield from (attribute.t, *attribute.tensors)
                    sparse += [attribute.sparse_tensor, *attribute.sparse_tensors]
            for tensor in sparse:
                yield from (tensor.values, tensor.indices)


def _check_operator(node: Any, model: Any) -> None:
    own = {(function.domain, function.name) for function in model.functions}
    if node.domain not in STANDARD and (node.domain, node.op_type) not in own:
        raise ModelError(f"the graph has the custom operator {plain(node.op_type)} of {plain(node.domain)}; only those of ONNX itself run")


def _check_inside(tensor: Any, external: int) -> None:
    if tensor.data_location == external or tensor.external_data:
        raise ModelError(
            f"the tensor {plain(tensor.name)} lies in another file; write the graph as one file (onnx.load, then onnx.save) and import that"
        )


def first_line(error: BaseException) -> str:
    """What a foreign exception says, in one line that is safe to print."""
    return plain((str(error).strip().splitlines() or [type(error).__name__])[0][:300])
