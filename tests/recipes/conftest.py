"""Running shell and recipe scripts the way a user does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TINY = """
[network]
name = "lstm"
hidden_size = 16
projection_size = 0
num_layers = 1
embedding_dim = 8
[loss]
name = "ge2e"
[batch]
num_speakers = 3
num_utterances = 2
min_frames = 20
max_frames = 30
[optimizer]
name = "adamw"
learning_rate = 0.005
[trainer]
steps = 4
log_interval = 2
valid_interval = 2
"""


@pytest.fixture
def environment():
    """With the clone on PATH, as `. ./path.sh` makes it."""
    return {
        **os.environ,
        "PATH": f"{ROOT / 'utils'}:{ROOT / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def run(tmp_path, environment):
    """Run a command line in `tmp_path`; gives the finished process with its text output."""

    def run_command(*words, timeout=60):
        words = [str(word) for word in words]
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=timeout)

    return run_command


@pytest.fixture
def script(tmp_path, run):
    """Write a bash script in `tmp_path` and run it with arguments."""

    def run_script(text, *arguments, name="run.sh"):
        (tmp_path / name).write_text(text)
        return run("bash", tmp_path / name, *arguments)

    return run_script


@pytest.fixture
def tiny_config(tmp_path):
    """A training of seconds, for three speakers or more: `tiny.toml` in `tmp_path`."""
    (tmp_path / "tiny.toml").write_text(TINY)
    return "tiny.toml"
