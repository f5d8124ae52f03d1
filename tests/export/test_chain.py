"""Normalisation and windows in the graph are those of training and extraction."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from sv_toolkit.embeddings.embed import embed  # noqa: E402
from sv_toolkit.export.chain import BATCH, dvector, network_input  # noqa: E402
from sv_toolkit.export.graph import Graph  # noqa: E402
from sv_toolkit.export.networks import embeddings  # noqa: E402
from sv_toolkit.features.prepare import InputConfig, prepare  # noqa: E402
from sv_toolkit.models.lstm import LstmConfig, LstmDvector  # noqa: E402
from sv_toolkit.models.store import WindowConfig  # noqa: E402

DIM = 6
INPUTS = [
    InputConfig(),
    InputConfig(cmvn_variance=True),
    InputConfig(cmvn="utterance"),
    InputConfig(cmvn="utterance", cmvn_variance=True, scale=1.0),
    InputConfig(cmvn="none", scale=0.1),
    InputConfig(cmvn="sliding", cmvn_window=31),
    InputConfig(cmvn="sliding", cmvn_window=300, cmvn_variance=True),
    InputConfig(cmvn="sliding", cmvn_window=40, cmvn_center=False, cmvn_variance=True),
]


@pytest.mark.parametrize("config", INPUTS, ids=range(len(INPUTS)))
@pytest.mark.parametrize("with_mask", [True, False])
def test_network_input_agrees(config, with_mask, run, rng):
    graph = Graph()
    features = graph.input("features", np.float32, ["num_frames", DIM])
    mask = graph.input("is_voiced", np.bool_, ["num_frames"]) if with_mask else None
    graph.output("inputs", network_input(features, mask, config), ["num_voiced", DIM])
    for num_frames in (1, 2, 30, 150, 700):
        given = (10 + 3 * rng.standard_normal((num_frames, DIM))).astype(np.float32)
        is_voiced = rng.random(num_frames) < 0.6 if num_frames > 2 else np.ones(num_frames, bool)
        expected = prepare(given, is_voiced if with_mask else None, config)
        (found,) = run(graph, features=given, **({"is_voiced": is_voiced} if with_mask else {}))
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_without_a_voiced_frame_there_is_still_one_to_work_on(run, rng):
    for config in INPUTS:
        graph = Graph()
        features, mask = graph.input("features", np.float32, ["num_frames", DIM]), graph.input("is_voiced", np.bool_, ["num_frames"])
        graph.output("inputs", network_input(features, mask, config), ["num_voiced", DIM])
        (found,) = run(graph, features=rng.standard_normal((9, DIM)).astype(np.float32), is_voiced=np.zeros(9, bool))
        assert found.shape == (1, DIM) and np.isfinite(found).all()


@pytest.mark.parametrize("shift", [10, 7, 20])
def test_dvectors_are_the_mean_over_the_same_windows(shift, run, rng):
    torch.manual_seed(4)
    network, windows = LstmDvector(DIM, LstmConfig(12, 4, 2, 7)).eval(), WindowConfig(20, shift, 5)
    for parameter in network.parameters():
        parameter.data *= 2
    graph = Graph()
    inputs = graph.input("inputs", np.float32, ["num_frames", DIM])
    graph.output("dvector", dvector(inputs, lambda value: embeddings("lstm", network, value), 7, windows), [7])
    for num_frames in (1, 19, 20, 21, 40, 47, 20 + shift * (BATCH - 1), 20 + shift * BATCH + 1):
        frames = rng.standard_normal((num_frames, DIM)).astype(np.float32)
        np.testing.assert_allclose(run(graph, inputs=frames)[0], embed(network, [frames], windows)[0], atol=1e-5)
