"""sv-train-ivector and sv-extract-ivector as commands: from features to scores."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from sv_toolkit.cli import extract_ivector, info, score, train_ivector
from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.io.tables import write_table

CONFIG = (
    "[frames]\ndelta_order = 0\ncmvn = 'none'\n[ubm]\nnum_components = 4\ndiagonal_iterations = 2\n[total_variability]\nivector_dim = 3\n"
)


def run(command, *arguments, code=0):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], prog_name="sv")
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def data(tmp_path, rng):
    folder = tmp_path / "data"
    folder.mkdir()
    keys = [f"s{s}-u{u}" for s in range(4) for u in range(5)]
    places = 2 * rng.standard_normal((4, 3))
    features = {key: (places[int(key[1])] + rng.standard_normal((30, 3))).astype(np.float32) for key in keys}
    write_ark_scp(folder, "feats", features)
    write_ark_scp(folder, "vad", {key: np.ones(30, np.float32) for key in keys})
    write_table(folder / "utt2spk", {key: key[:2] for key in keys})
    (folder / "trials").write_text("".join(f"{a} {b} {'target' if a[:2] == b[:2] else 'nontarget'}\n" for a in keys for b in keys if a < b))
    (tmp_path / "ivector.toml").write_text(CONFIG)
    return folder


def test_from_features_to_an_equal_error_rate(data, tmp_path):
    exp = tmp_path / "exp"
    trained = run(train_ivector.command, data, exp, "--config", tmp_path / "ivector.toml", "--nj", 1)
    assert "total variability, iteration 10" in trained.stderr
    assert trained.stdout == ""
    told = run(info.command, exp).stdout.splitlines()
    assert {"architecture ivector", "ubm.num_components 4", "total_variability.ivector_dim 3", "utterances 20"} <= set(told)
    extracted = run(extract_ivector.command, exp, data, exp / "out", "--nj", 1)
    assert "20 i-vectors" in extracted.stderr
    scored = run(score.command, data / "trials", "--test", exp / "out" / "ivector.scp", "-o", tmp_path / "scores")
    assert float(scored.stdout.split("EER")[1].split("%")[0].strip(" =:")) < 20


def test_the_command_line_wins_over_the_configuration(data, tmp_path):
    words = ("--num-components", 2, "--ivector-dim", 5, "--seed", 7, "--set", "frames.use_vad=false", "--nj", 1)
    run(train_ivector.command, data, tmp_path / "exp", "--config", tmp_path / "ivector.toml", *words)
    made = json.loads((tmp_path / "exp" / "ivector.json").read_text())["config"]
    assert (made["ubm"]["num_components"], made["total_variability"]["ivector_dim"]) == (2, 5)
    assert (made["ubm"]["seed"], made["total_variability"]["seed"], made["frames"]["use_vad"]) == (7, 7, False)


def test_errors_are_one_line(data, tmp_path):
    config = tmp_path / "ivector.toml"
    too_many = run(train_ivector.command, data, tmp_path / "exp", "--config", config, "--num-components", 1000, "--nj", 1, code=1)
    assert "600 frames are too few for 1000 Gaussians" in too_many.stderr
    unknown = run(train_ivector.command, data, tmp_path / "exp", "--config", config, "--set", "ubm.components=3", code=1)
    assert "ubm: unknown key 'components'" in unknown.stderr
    no_model = run(extract_ivector.command, tmp_path / "none", data, tmp_path / "out", code=1)
    assert no_model.stderr.count("\n") == 1
    assert "no such folder; sv-train-ivector makes an i-vector system" in no_model.stderr
