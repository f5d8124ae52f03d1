"""A signal at any moment of a command, from its first import on, is one line and an exit status; closed streams are, too."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BIN = Path(__file__).resolve().parents[2] / "bin"
INTERPRETER = 0.03  # seconds until Python reads the first line of a program; before that its own handlers are in place


@pytest.fixture
def scores(tmp_path):
    """A command that works for a while: bootstrap intervals of many trials."""
    keys = [f"a{i} b{i}" for i in range(4000)]
    (tmp_path / "trials").write_text("".join(f"{key} {('target', 'nontarget')[i % 2]}\n" for i, key in enumerate(keys)))
    (tmp_path / "scores").write_text("".join(f"{key} {(i * 7919 % 4001) / 4001 + (i % 2 == 0):.6f}\n" for i, key in enumerate(keys)))
    return [sys.executable, str(BIN / "sv-eval"), str(tmp_path / "trials"), str(tmp_path / "scores"), "--num-bootstrap", "4000"]


@pytest.mark.parametrize(("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated"), (signal.SIGHUP, "hung up")])
@pytest.mark.parametrize("moment", [0.05, 0.1, 0.2, 0.4, 0.8])
def test_a_signal_at_any_moment_is_one_line_and_its_status(scores, number, word, moment):
    process = subprocess.Popen(scores, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(INTERPRETER + moment)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    if process.returncode == -number:  # so early that no line of ours had run: the system ended it, without a word
        assert said == ""
    elif process.returncode != 0:  # 0: it was faster than the signal
        assert process.returncode == 128 + number
        assert said.startswith(f"sv-eval: {word}; ")
        assert said.count("\n") == 1


def test_a_signal_that_the_caller_ignores_stays_ignored(scores):
    process = subprocess.Popen(["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *scores], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(0.3)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("closed", "status", "said"), [("<&-", 0, ""), ("2>&-", 0, ""), (">&-", 1, "sv-eval: error: write failed: Bad file descriptor\n")]
)
def test_a_closed_stream_takes_no_file_and_loses_no_result_in_silence(scores, closed, status, said):
    scores[-1] = "10"
    result = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *scores], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (status, said)
    assert bool(result.stdout) == (status == 0)


def test_a_reader_that_leaves_is_silence_and_the_status_of_sigpipe(scores):
    scores[-1] = "10"
    process = subprocess.Popen(scores, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 141
