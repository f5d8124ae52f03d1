"""sv-train as a process: options, one-line errors, signals."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sv_toolkit.cli.info import command as info
from sv_toolkit.cli.train import command as train
from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.io.tables import write_table

BIN = Path(__file__).resolve().parents[2] / "bin"
CONFIG = """
[network]
hidden_size = 8
projection_size = 0
num_layers = 1
embedding_dim = 4
[batch]
num_speakers = 3
num_utterances = 2
min_frames = 10
max_frames = 20
[optimizer]
name = "adam"
learning_rate = 0.001
[trainer]
steps = 400
log_interval = 20
valid_interval = 20
"""


@pytest.fixture
def data(tmp_path, rng):
    folder = tmp_path / "data"
    folder.mkdir()
    features = {f"s{s}-u{u}": rng.standard_normal((30, 5)).astype(np.float32) for s in range(4) for u in range(3)}
    write_ark_scp(folder, "feats", features)
    write_ark_scp(folder, "vad", {key: np.ones(30, np.float32) for key in features})
    write_table(folder / "utt2spk", {key: key[:2] for key in features})
    (tmp_path / "c.toml").write_text(CONFIG)
    return folder


def run(data, exp, *options):
    return CliRunner().invoke(
        train, [str(data), str(exp), "--config", str(data.parent / "c.toml"), "--threads", "1", "--device", "cpu", *options]
    )


def test_options_override_the_configuration(data, tmp_path):
    options = ["--set", "trainer.steps=2", "--speakers-per-batch", "2", "--window-frames", "15", "--seed", "5"]
    result = run(data, tmp_path / "exp", *options)
    assert result.exit_code == 0, result.output
    described = CliRunner().invoke(info, [str(tmp_path / "exp")]).output
    assert "windows.window 15" in described
    assert f"parameters {4 * 8 * (5 + 8 + 2) + 4 * (8 + 1)}" in described  # LSTM and linear layer
    assert "architecture lstm" in described


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--speakers-per-batch", "64"], 1, "needs 64 speakers"),
        (["--window-frames", "1000"], 1, "the longest has 30 frames, 1000 are needed"),
        (["--set", "steps=3"], 2, "SECTION.KEY=VALUE"),
        (["--set", "trainer.stepps=3"], 1, "did you mean 'steps'"),
        (["--lerning-rate", "1"], 2, "No such option"),
        (["--valid", "/nonexistent"], 1, "/nonexistent"),
        (["--init-skip", "linear.*"], 2, "give --init, too"),
        (["--noise", "/nonexistent"], 1, "/nonexistent"),
        (["--reverb", "/nonexistent"], 1, "/nonexistent"),
        (["--seed", "9223372036854775807"], 2, "is not in the range"),
        (["--set", "trainer.seed=9223372036854775807"], 1, "seed must be in [0, 4.29497e+09]"),
        (["--valid", "/a", "--valid", "dev:/b"], 2, "several data directories are called 'dev'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_an_exit_code(data, tmp_path, options, status, message):
    result = run(data, tmp_path / "exp", *options)
    assert result.exit_code == status
    assert message in result.output
    assert "Traceback" not in result.output


def start(data, exp):
    command = [sys.executable, str(BIN / "sv-train"), str(data), str(exp), "--config", str(data.parent / "c.toml"), "--threads", "1"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def wait_for_checkpoint(process, exp, newer_than=frozenset()):
    limit = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < limit:
        if set(exp.glob("ckpt-*")) - newer_than:
            return set(exp.glob("ckpt-*"))
        time.sleep(0.005)
    pytest.fail(f"no checkpoint: {process.stderr.read()}")


def digests(folder):
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_two_kills_and_a_rerun_leave_the_bytes_of_an_undisturbed_run(data, tmp_path):
    assert start(data, tmp_path / "whole").wait() == 0
    seen: set[Path] = set()
    for _ in range(2):
        process = start(data, tmp_path / "killed")
        seen = wait_for_checkpoint(process, tmp_path / "killed", seen)
        process.kill()
        process.wait()
    assert not (tmp_path / "killed/train.manifest.json").exists()
    assert start(data, tmp_path / "killed").wait() == 0
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")


def test_sigterm_saves_a_checkpoint_and_says_how_to_resume(data, tmp_path):
    process = start(data, tmp_path / "exp")
    wait_for_checkpoint(process, tmp_path / "exp")
    process.send_signal(signal.SIGTERM)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "run the same command to resume" in messages
    assert not (tmp_path / "exp/.lock").exists()


def test_a_second_run_in_the_same_folder_is_refused_while_the_first_works(data, tmp_path):
    process = start(data, tmp_path / "exp")
    wait_for_checkpoint(process, tmp_path / "exp")
    result = run(data, tmp_path / "exp")
    process.kill()
    process.wait()
    assert result.exit_code == 1
    assert f"in use by process {process.pid}" in result.output


@pytest.fixture
def voices(tmp_path, write_voice):
    """A data directory of recordings without features: four speakers, three utterances each."""
    folder = tmp_path / "voices"
    folder.mkdir()
    wav = {f"s{s}-u{u}": str(write_voice(f"s{s}-u{u}", pitch=90 + 40 * s + u)) for s in range(4) for u in range(3)}
    write_table(folder / "wav.scp", wav)
    write_table(folder / "utt2spk", {key: key[:2] for key in wav})
    return folder


def test_without_a_configuration_one_is_chosen_told_and_resumed_and_features_are_made(voices, tmp_path):
    arguments = [str(voices), str(tmp_path / "exp"), "--threads", "1", "--device", "cpu", "--set", "trainer.steps=3"]
    result = CliRunner().invoke(train, arguments)
    assert result.exit_code == 0, result.output
    assert "no features yet" in result.output
    assert "chosen for 4 speakers with 3 utterances" in result.output
    assert "batches of 4 x 3, crops of 15 to 25 frames, 3 steps" in result.output
    assert "warning" not in result.output
    assert "nothing to do" in CliRunner().invoke(train, arguments).output
    text = CliRunner().invoke(info, [str(tmp_path / "exp")]).output
    assert "architecture lstm" in text


def test_another_network_than_the_chosen_one_has_its_own_sizes(voices, tmp_path):
    options = [
        "--threads",
        "1",
        "--device",
        "cpu",
        "--set",
        "trainer.steps=1",
        "--set",
        "network.name=gru",
        "--set",
        "network.hidden_size=4",
    ]
    result = CliRunner().invoke(train, [str(voices), str(tmp_path / "exp"), *options])
    assert result.exit_code == 0, result.output


def test_features_are_made_as_the_model_to_start_from_needs_them(voices, voice_model, tmp_path):
    result = CliRunner().invoke(
        train,
        [str(voices), str(tmp_path / "exp"), "--init", str(voice_model()), "--threads", "1", "--device", "cpu", "--set", "trainer.steps=1"],
    )
    assert result.exit_code == 0, result.output
    described = CliRunner().invoke(info, [str(tmp_path / "exp")]).output
    assert "feature_dim 20" in described
    assert "warning" not in result.output


def test_a_training_that_cannot_begin_leaves_no_folder(data, tmp_path):
    assert run(data, tmp_path / "exp", "--speakers-per-batch", "64").exit_code == 1
    assert not (tmp_path / "exp").exists()


def test_print_config_needs_no_data_and_shows_what_is_set(tmp_path):
    result = CliRunner().invoke(train, ["--print-config", "--config", "ge2e-lstm", "--set", "trainer.steps=7"])
    assert result.exit_code == 0
    assert "hidden_size = 768\n" in result.stdout
    assert "# batches in all.\nsteps = 7\n" in result.stdout
    assert list(tmp_path.iterdir()) == []
