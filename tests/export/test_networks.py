"""Every architecture in ONNX Runtime gives what it gives in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from sv_toolkit.config import build  # noqa: E402
from sv_toolkit.errors import ConfigError  # noqa: E402
from sv_toolkit.export.graph import Graph  # noqa: E402
from sv_toolkit.export.networks import NETWORKS, embeddings  # noqa: E402
from sv_toolkit.models.normalization import MaskedBatchNorm  # noqa: E402
from sv_toolkit.models.registry import ARCHITECTURES, architecture_entry  # noqa: E402

DIM = 11
SMALL = {
    "lstm": {"hidden_size": 8, "projection_size": 4, "num_layers": 2, "embedding_dim": 5},
    "gru": {"channels": 3, "hidden_size": 6, "num_layers": 2, "embedding_dim": 5},
    "rescnn": {"channels": [3, 4, 5], "blocks": 1, "embedding_dim": 5},
    "resnet": {"channels": [3, 4], "blocks": [1, 2], "kernel": 5, "embedding_dim": 4},
    "ecapa_tdnn": {"channels": 6, "dilations": [2, 3], "scale": 3, "bottleneck": 3, "aggregated": 8, "attention": 4, "embedding_dim": 5},
}
VARIANTS = [
    *((name, {}) for name in sorted(SMALL)),
    ("lstm", {"pooling": "mean"}),
    ("lstm", {"projection_size": 0}),
    ("lstm", {"pooling": "statistics", "frame_dim": 6}),
    ("lstm", {"pooling": "last", "frame_dim": 6}),
    ("lstm", {"pooling": "mean", "projection_size": 0, "num_layers": 1}),
    ("gru", {"activation": "tanh"}),
    ("rescnn", {"blocks": 0}),
    ("resnet", {"pooling": "statistics", "linear": True, "embedding_dim": 5, "slope": 0.01}),
    ("ecapa_tdnn", {"stride": 2, "scale": 1, "context": False}),
]


def small(name, options):
    """An architecture in small whose weights are large enough for its input to matter, its normalisations as if trained."""
    config_class, module_class = architecture_entry(name)
    torch.manual_seed(2)
    network = module_class(DIM, build(config_class, {**SMALL[name], **options}, name)).eval()
    for parameter in network.parameters():
        parameter.data *= 2
    for module in network.modules():
        if isinstance(module, MaskedBatchNorm):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                tensor.data = 0.5 + torch.rand(tensor.shape)
    return network


def exported(name, network, with_lengths):
    graph = Graph()
    features = graph.input("features", np.float32, ["batch", "num_frames", DIM])
    lengths = graph.input("lengths", np.int64, ["batch"]) if with_lengths else None
    graph.output("embeddings", embeddings(name, network, features, lengths), ["batch", network.config.embedding_dim])
    return graph


def test_every_architecture_has_an_onnx_form_and_is_tested_here():
    assert NETWORKS.keys() == ARCHITECTURES.keys() == SMALL.keys()


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_any_batch_of_any_number_of_frames_gives_the_same_embeddings(name, options, run, rng):
    network = small(name, options)
    graph = exported(name, network, with_lengths=False)
    for batch, num_frames in ((1, 1), (1, 40), (4, 23), (3, 2)):
        features = rng.standard_normal((batch, num_frames, DIM)).astype(np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(features)).numpy()
        (found,) = run(graph, features=features)
        np.testing.assert_allclose(found, expected, atol=2e-5)
        if batch > 2 and num_frames > 2:
            assert np.abs(found - found[::-1]).max() > 1e-2  # a network that hears nothing would agree with anything


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_padding_changes_nothing(name, options, run, rng):
    network = small(name, options)
    graph, lengths = exported(name, network, with_lengths=True), np.array([30, 1, 17, 2, 30])
    features = np.full((5, 33, DIM), 1e6, np.float32)
    for row, length in enumerate(lengths):
        features[row, :length] = rng.standard_normal((length, DIM))
    with torch.inference_mode():
        alone = [network(torch.from_numpy(features[row : row + 1, :length])).numpy() for row, length in enumerate(lengths)]
    (found,) = run(graph, features=features, lengths=lengths)
    np.testing.assert_allclose(found, np.concatenate(alone), atol=2e-5)


def test_an_architecture_without_onnx_form_is_refused():
    with pytest.raises(ConfigError, match="no ONNX form of the architecture 'other'; known: .*lstm"):
        embeddings("other", small("lstm", {}), Graph().input("features", np.float32, [1, 2, DIM]))
