"""Every loss trains a network from a data directory, and a run that was stopped ends with the same bytes."""

from __future__ import annotations

import hashlib
import json

import pytest

from sv_toolkit.losses.registry import LOSSES
from sv_toolkit.training.config import train_config
from sv_toolkit.training.run import Options, run_training

SUM = [{"name": "softmax"}, {"name": "center", "weight": 0.01}, {"name": "speaker_bases", "weight": 0.1}]


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir()) if path.is_file()}


def with_loss(tables, table):
    return train_config({**tables, "loss": table, "trainer": {"steps": 6, "log_interval": 2, "valid_interval": 6}}, "x")


@pytest.mark.parametrize("table", [{"name": name} for name in LOSSES if name != "speaker_bases"] + [{"terms": SUM}], ids=str)
def test_every_loss_trains_and_resumes_with_the_same_bytes(data, tables, tmp_path, table):
    config = with_loss(tables, table)
    run_training(config, Options(data, tmp_path / "whole"))
    left = iter(range(3))
    assert not run_training(config, Options(data, tmp_path / "broken", should_stop=lambda: next(left, None) is None)).finished
    assert run_training(config, Options(data, tmp_path / "broken")).finished
    assert digests(tmp_path / "broken") == digests(tmp_path / "whole")


def test_the_log_holds_the_parts_of_a_sum(data, tables, tmp_path):
    run_training(with_loss(tables, {"terms": SUM}), Options(data, tmp_path / "exp"))
    record = json.loads((tmp_path / "exp/train.jsonl").read_text().splitlines()[0])
    total = record["softmax.loss"] + 0.01 * record["center.loss"] + 0.1 * record["speaker_bases.loss"]
    assert record["loss"] == pytest.approx(total, rel=1e-5)
