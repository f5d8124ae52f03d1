"""Networks with running statistics train, resume with the same bytes, and are averaged statistics and all."""

from __future__ import annotations

import pytest
import torch

from sv_toolkit.models.registry import ARCHITECTURES
from sv_toolkit.models.store import load_model
from sv_toolkit.training.config import train_config
from sv_toolkit.training.run import Options, run_training

NETWORKS = {
    "gru": {"channels": 3, "hidden_size": 6, "num_layers": 1, "embedding_dim": 4},
    "rescnn": {"channels": [3, 4], "blocks": 1, "embedding_dim": 4},
    "resnet": {"channels": [3, 4], "blocks": [1, 1], "embedding_dim": 4},
    "ecapa_tdnn": {"channels": 6, "scale": 2, "bottleneck": 3, "aggregated": 8, "attention": 4, "embedding_dim": 4},
}


def with_network(tables, name):
    """Utterances of different lengths in a batch, and the mean of the weights as the model."""
    trainer = {"steps": 6, "log_interval": 3, "valid_interval": 3, "average": 0.9}
    return {
        **tables,
        "network": {"name": name, **NETWORKS[name]},
        "batch": {**tables["batch"], "max_frames": 40, "shortest": 10},
        "trainer": trainer,
    }


def test_every_architecture_with_running_statistics_is_here():
    assert NETWORKS.keys() == {name for name, (_, module) in ARCHITECTURES.items() if module.mixes_utterances}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_run_stopped_and_resumed_ends_with_the_same_bytes(data, valid, tables, tmp_path, name):
    config = train_config(with_network(tables, name), "x")
    stop = iter([False, False, False, True])
    run_training(config, Options(data, tmp_path / "whole", valid))
    assert not run_training(config, Options(data, tmp_path / "broken", valid, should_stop=lambda: next(stop))).finished
    assert run_training(config, Options(data, tmp_path / "broken", valid)).finished
    whole, broken = (
        {str(path.relative_to(tmp_path / folder)): path.read_bytes() for path in (tmp_path / folder).rglob("*") if path.is_file()}
        for folder in ("whole", "broken")
    )
    assert whole == broken
    network, _ = load_model(tmp_path / "whole")
    moved = [tensor for key, tensor in network.state_dict().items() if key.endswith("running_mean")]
    assert moved and all(torch.isfinite(tensor).all() and tensor.abs().max() > 0 for tensor in moved)
