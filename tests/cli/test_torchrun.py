"""Several processes train the model of one; one that dies is named, and the same command resumes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.io.tables import write_table

BIN = Path(__file__).resolve().parents[2] / "bin"
CONFIG = """
[network]
hidden_size = 8
projection_size = 4
num_layers = 2
embedding_dim = 4
[input]
cmvn = "none"
use_vad = false
[batch]
num_speakers = 4
num_utterances = 3
min_frames = 10
max_frames = 20
[optimizer]
learning_rate = 0.1
[trainer]
steps = {steps}
log_interval = 10
valid_interval = 10
"""


@pytest.fixture
def data(tmp_path, rng):
    folder = tmp_path / "data"
    folder.mkdir()
    ids = [f"s{speaker}-u{utterance}" for speaker in range(6) for utterance in range(4)]
    write_ark_scp(folder, "feats", {utterance: rng.standard_normal((30, 5)).astype(np.float32) for utterance in ids})
    write_table(folder / "utt2spk", {utterance: utterance[:2] for utterance in ids})
    return folder


def start(data, exp, number, steps):
    config = data.parent / f"{steps}.toml"
    config.write_text(CONFIG.format(steps=steps))
    command = [str(BIN / "sv-train"), str(data), str(exp), "--config", str(config), "--process-timeout", "10", "--threads", "1"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(number), "--standalone"] if number > 1 else []
    return subprocess.Popen(
        [*launcher, *([] if launcher else [sys.executable]), *command],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_two_processes_train_the_model_of_one(data, tmp_path):
    messages = [start(data, tmp_path / f"exp{number}", number, 20).communicate(timeout=120)[1] for number in (1, 2)]
    one, two = (load_file(tmp_path / f"exp{number}/last/model.safetensors") for number in (1, 2))
    assert max(float((one[name] - two[name]).abs().max() / one[name].abs().max()) for name in one) < 1e-5
    assert messages[1].count("step 20/20 loss") == messages[1].count("model in") == 1
    assert "2 processes" in messages[1]


def test_a_process_that_dies_is_named_and_the_same_command_resumes(data, tmp_path):
    process = start(data, tmp_path / "exp", 2, 3000)
    limit = time.monotonic() + 60
    while not list((tmp_path / "exp").glob("ckpt-*")) and time.monotonic() < limit and process.poll() is None:
        time.sleep(0.05)
    victim = _rank_one(process.pid)
    os.kill(victim, 9)
    messages = process.communicate(timeout=90)[1]
    assert process.returncode == 1
    assert "process 1 of 2 died or did not answer" in messages
    assert "resume" in messages
    assert not (tmp_path / "exp/train.manifest.json").exists()
    again = start(data, tmp_path / "exp", 2, 3000)
    for line in again.stderr:
        if "resuming after step" in line:
            break
    else:
        pytest.fail("it did not resume")
    again.terminate()
    again.communicate(timeout=90)


def _rank_one(launcher):
    """The process id of rank 1 among the children of torchrun."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if parent == launcher and b"RANK=1" in environment:
            return int(folder.name)
    pytest.fail("no process of rank 1")
