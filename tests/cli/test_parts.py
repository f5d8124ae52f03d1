"""Every command over utterances as a job array of the recipes' own runner: the bytes of the undivided run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sv_toolkit.features.prepare import InputConfig
from sv_toolkit.models.store import Description, WindowConfig, make_network, save_model

ROOT = Path(__file__).resolve().parents[2]
IVECTOR = "[frames]\ndelta_order = 0\ncmvn = 'none'\nuse_vad = false\n[ubm]\nnum_components = 2\ndiagonal_iterations = 2\n[total_variability]\nivector_dim = 2\n"


def run(*words, code=0):
    environment = {**os.environ, "PATH": f"{ROOT / 'utils'}:{ROOT / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    result = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=300, env=environment)
    assert result.returncode == code, result.stdout + result.stderr
    return result


@pytest.fixture
def prepared(recordings, tmp_path):
    """Recordings with features, a small network, and a configuration of an i-vector system."""
    run("sv-extract-fbank", "--num-mel-bins", 5, "--nj", 1, recordings, tmp_path / "features")
    network = {"hidden_size": 8, "projection_size": 0, "num_layers": 1, "embedding_dim": 5, "pooling": "mean", "dropout": 0.0}
    description = Description("lstm", network, 5, InputConfig(use_vad=False), WindowConfig(20, 10, 8))
    save_model(tmp_path / "model", make_network(description).state_dict(), description)
    (tmp_path / "ivector.toml").write_text(IVECTOR)
    return tmp_path


COMMANDS = {
    "sv-extract-fbank": ["{data}", "{out}"],
    "sv-extract-mfcc": ["{data}", "{out}"],
    "sv-compute-vad": ["--kind", "energy", "{data}", "{out}"],
    "sv-extract-dvector": ["{root}/model", "{root}/features", "{out}"],
    "sv-train-ivector": ["--config", "{root}/ivector.toml", "{root}/features", "{out}"],
}


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes().replace(str(folder).encode(), b"@")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_an_array_of_jobs_and_their_join_make_the_bytes_of_one_run(name, prepared):
    def words(out):
        return [name, *(word.format(root=prepared, data=prepared / "data", out=prepared / out) for word in COMMANDS[name])]

    run(*words("whole"), "--nj", 1)
    if name == "sv-train-ivector":
        refused = run(*words("parts"), "--part", "1/4", "--nj", 1, code=1)
        assert "run --only-background first" in refused.stderr
        run(*words("parts"), "--only-background", "--nj", 1)
    run("run_job", "--max-jobs-run", 2, "JOB=2:4", prepared / "log/x.JOB.log", *words("parts"), "--nj", 1, "--part", "JOB/4")
    if name == "sv-train-ivector":
        assert "1 of 3 statistics are missing; run --part 1/4 again" in run(*words("parts"), "--join", 4, code=1).stderr
    else:
        assert "1 of 3 archives" in run(*words("parts"), "--join", 4, code=1).stderr
    run(*words("parts"), "--nj", 1, "--part", "1/4")
    run(*words("parts"), "--join", 4)
    assert content(prepared / "parts") == content(prepared / "whole")
    assert "nothing to do" in run(*words("parts"), "--part", "1/4").stderr


def test_ivectors_in_parts_too(prepared):
    run("sv-train-ivector", "--config", prepared / "ivector.toml", "--nj", 1, prepared / "features", prepared / "exp")
    run("sv-extract-ivector", prepared / "exp", prepared / "features", prepared / "whole", "--nj", 1)
    for part in ("2/2", "1/2"):
        run("sv-extract-ivector", prepared / "exp", prepared / "features", prepared / "parts", "--nj", 1, "--part", part)
    run("sv-extract-ivector", prepared / "exp", prepared / "features", prepared / "parts", "--join", 2)
    assert content(prepared / "parts") == content(prepared / "whole")


def test_parts_made_of_other_tables_are_not_joined(recordings, tmp_path):
    run("sv-extract-fbank", recordings, tmp_path / "out", "--part", "1/2")
    (recordings / "wav.scp").write_text("".join((recordings / "wav.scp").read_text().splitlines(keepends=True)[:-1]))
    (recordings / "utt2spk").write_text("".join((recordings / "utt2spk").read_text().splitlines(keepends=True)[:-1]))
    refused = run("sv-extract-fbank", recordings, tmp_path / "out", "--part", "2/2", code=1)
    assert "the parts of feats were made with other options or tables; --overwrite begins anew" in refused.stderr
    assert "other options or tables" in run("sv-extract-fbank", recordings, tmp_path / "out", "--join", 2, code=1).stderr


@pytest.mark.parametrize(("words", "message"), [(["--part", "5/4"], "1/4 to 4/4"), (["--part", "1/2", "--join", "2"], "different runs")])
def test_a_wrong_part_is_the_command_lines_fault(words, message, recordings):
    assert message in run("sv-extract-fbank", recordings, *words, code=2).stderr
