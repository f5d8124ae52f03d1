"""The energy detector in the graph decides as the toolkit's does."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from sv_toolkit.export.front_end import features_of, frames_of  # noqa: E402
from sv_toolkit.export.graph import Graph  # noqa: E402
from sv_toolkit.export.vad import voiced_frames  # noqa: E402
from sv_toolkit.features.fbank import FbankConfig  # noqa: E402
from sv_toolkit.features.vad import EnergyVadConfig, VadConfig, voice_activity  # noqa: E402

BELOW = EnergyVadConfig(energy_threshold_below_max=3.0, energy_threshold=9.0)
CONFIGS = [
    (VadConfig(kind="energy"), FbankConfig()),
    (VadConfig(kind="energy", energy=EnergyVadConfig(frames_context=0, proportion_threshold=1.0, energy_mean_scale=0.7)), FbankConfig()),
    (VadConfig(kind="energy", energy=EnergyVadConfig(frames_context=5, proportion_threshold=0.25)), FbankConfig(snip_edges=False)),
    (VadConfig(kind="energy", keep="span", energy=BELOW), FbankConfig()),
    (VadConfig(kind="energy", min_frames=45, energy=BELOW), FbankConfig()),
    (VadConfig(kind="energy", min_frames=10_000, keep="span", energy=BELOW), FbankConfig()),
    (VadConfig(kind="energy", energy=EnergyVadConfig(source="features", energy_threshold=9.0)), FbankConfig(num_mel_bins=23)),
    (VadConfig(kind="energy", energy=EnergyVadConfig(source="features")), FbankConfig(use_energy=True, htk_compat=True)),
    (VadConfig(kind="energy", energy=EnergyVadConfig(source="features", energy_threshold=9.0)), FbankConfig(use_log_fbank=False)),
]


def graph_of(config, framing):
    graph = Graph()
    frames = frames_of(graph.input("waveform", np.float32, ["num_samples"]), framing)
    graph.output("is_voiced", voiced_frames(frames, features_of(frames, framing), framing, config), ["num_frames"])
    return graph


@pytest.mark.parametrize(("config", "framing"), CONFIGS, ids=range(len(CONFIGS)))
def test_decisions_are_the_same(config, framing, run, rng):
    graph, shares = graph_of(config, framing), []
    for level in (0.0, 1e-3, 0.1, 0.3):
        levels = np.repeat(10 ** rng.uniform(-3, 0, 16), 700)
        samples = (level * levels * rng.standard_normal(len(levels))).astype(np.float32)
        (found,) = run(graph, waveform=samples)
        expected = voice_activity(samples, framing, config)
        np.testing.assert_array_equal(found, expected)
        shares.append(expected.mean())
    assert shares[0] == 0
    assert max(shares) > 0.1
    assert config.min_frames > 100 or min(share for share in shares if share) < 1


def test_few_frames_are_decided_about(run, rng):
    for config, framing in CONFIGS[:6]:
        graph = graph_of(config, framing)
        for num_samples in (400, 600, 1000):
            samples = (0.1 * rng.standard_normal(num_samples)).astype(np.float32)
            np.testing.assert_array_equal(run(graph, waveform=samples)[0], voice_activity(samples, framing, config))
