"""Commands killed twice in the middle and run again leave the bytes of an undisturbed run."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv_toolkit.features.prepare import InputConfig
from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.io.tables import write_table
from sv_toolkit.models.store import Description, WindowConfig, make_network, save_model

BIN = Path(__file__).resolve().parents[2] / "bin"
NUM_UTTERANCES = 96


@pytest.fixture
def data(tmp_path, rng):
    """Noise bursts as recordings, and features and decisions for them in a directory of its own."""
    audio, features = tmp_path / "audio", tmp_path / "features"
    audio.mkdir()
    features.mkdir()
    utterances = [f"s{i % 8}-u{i:03d}" for i in range(NUM_UTTERANCES)]
    for utterance in utterances:
        samples = 0.1 * rng.standard_normal(16_000) * np.repeat(rng.random(10) > 0.3, 1600)
        soundfile.write(audio / f"{utterance}.wav", samples, 16_000, subtype="PCM_16")
    write_table(audio / "wav.scp", {utterance: str(audio / f"{utterance}.wav") for utterance in utterances})
    write_ark_scp(features, "feats", {utterance: rng.standard_normal((50, 5)).astype(np.float32) for utterance in utterances})
    write_ark_scp(features, "vad", {utterance: np.ones(50, np.float32) for utterance in utterances})
    for folder in (audio, features):
        write_table(folder / "utt2spk", {utterance: utterance[:2] for utterance in utterances})
        write_table(folder / "spk2utt", {f"s{s}": " ".join(u for u in sorted(utterances) if u.startswith(f"s{s}-")) for s in range(8)})
    network = {"hidden_size": 8, "projection_size": 0, "num_layers": 1, "embedding_dim": 5, "pooling": "mean", "dropout": 0.0}
    description = Description("lstm", network, 5, InputConfig(), WindowConfig(20, 10, 8))
    save_model(tmp_path / "model", make_network(description).state_dict(), description)
    return tmp_path


COMMANDS = {
    "sv-extract-mfcc": ("feats", ["{root}/audio", "{out}"]),
    "sv-extract-fbank": ("feats", ["{root}/audio", "{out}"]),
    "sv-compute-vad": ("vad", ["--kind", "energy", "{root}/audio", "{out}"]),
    "sv-extract-dvector": ("dvector", ["{root}/model", "{root}/features", "{out}"]),
    "sv-extract-control": ("dvector", ["{root}/features", "{out}"]),
}


def start(name, root, out, num_jobs):
    arguments = [argument.format(root=root, out=out) for argument in COMMANDS[name][1]]
    command = [sys.executable, str(BIN / name), *arguments, *(["--nj", str(num_jobs)] if num_jobs else [])]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def content(folder):
    """Digests of every file, blind to the folder's own name inside tables."""
    blind = {path: path.read_bytes().replace(str(folder).encode(), b"@") for path in folder.rglob("*") if path.is_file()}
    return {
        str(path.relative_to(folder)): hashlib.sha256(text).hexdigest()
        for path, text in blind.items()
        if not path.name.endswith("manifest.json")
    }


def kill_after_shards(process, out, name, count):
    """SIGKILL as soon as `count` shards are recorded; False if the command was faster."""
    limit = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < limit:
        if len(list(out.glob(f".{name}.partial/*.json"))) >= count:
            process.kill()
            process.wait()
            return True
        time.sleep(0.001)
    process.wait()
    return False


@pytest.mark.parametrize("name", COMMANDS)
def test_two_kills_and_a_rerun_leave_the_bytes_of_an_undisturbed_run(name, data):
    num_jobs = None if name == "sv-extract-control" else 1
    undisturbed = start(name, data, data / "whole", num_jobs)
    assert undisturbed.wait() == 0, undisturbed.stderr.read()
    kills = sum(
        kill_after_shards(start(name, data, data / "killed", num_jobs), data / "killed", COMMANDS[name][0], count) for count in (1, 4)
    )
    assert kills >= 1, "the command was never caught at work"
    last = start(name, data, data / "killed", num_jobs)
    assert last.wait() == 0, last.stderr.read()
    assert content(data / "killed") == content(data / "whole")


def write_scored(root, rng):
    """Embeddings of two systems, a cohort, trials and scores under `root`, and i-vectors of its features."""
    utterances = [f"s{i % 8}-u{i:03d}" for i in range(40)]
    centers = rng.standard_normal((8, 6))
    for system in ("a", "b"):
        (root / system).mkdir()
        vectors = {key: (2 * centers[int(key[1])] + rng.standard_normal(6)).astype(np.float32) for key in sorted(utterances)}
        write_ark_scp(root / system, "dvector", vectors)
    (root / "cohort").mkdir()
    write_ark_scp(root / "cohort", "dvector", {f"c{i:02d}": rng.standard_normal(6).astype(np.float32) for i in range(9)})
    (root / "lists").mkdir()
    write_table(root / "lists" / "utt2spk", {key: key[:2] for key in utterances})
    speakers = {f"s{s}": " ".join(sorted(key for key in utterances if key.startswith(f"s{s}-"))) for s in range(8)}
    write_table(root / "lists" / "spk2utt", speakers)
    pairs = [(one, two) for one in utterances for two in utterances if one < two]
    lines = [f"{one} {two} {'target' if one[:2] == two[:2] else 'nontarget'}\n" for one, two in pairs]
    (root / "lists" / "trials").write_text("".join(lines))
    for system in ("a", "b"):
        assert run_killed("sv-score", f"{root}/lists/trials --test {root}/{system}/dvector.scp -o {root}/{system}/scores", None) == 0
    (root / "ivector.toml").write_text(
        "[ubm]\nnum_components = 2\nfull_iterations = 1\n[total_variability]\nivector_dim = 3\nnum_iterations = 2\n"
    )
    assert run_killed("sv-train-ivector", f"{root}/features {root}/ivectors --config {root}/ivector.toml --nj 1", None) == 0


# A process kills itself where it is about to give file number `count` its name: between two files of a command, or before the only one.
KILLED_AT_A_NAME = """
import importlib, os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from sv_toolkit.cli import COMMANDS
from sv_toolkit.io import files
left, replace = [{count}], Path.replace
def counted(path, target):
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return replace(path, target)
Path.replace = counted
importlib.import_module("sv_toolkit.cli." + COMMANDS[{name!r}]).command({arguments!r})
"""


def run_killed(name, arguments, count):
    """The exit status of the command, killed before it names file number `count` (from 0; None: never)."""
    code = KILLED_AT_A_NAME.format(root=str(BIN.parent), count=-1 if count is None else count, name=name, arguments=arguments.split())
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode


MORE_COMMANDS = {
    "sv-enroll": "{root}/a/dvector.scp {root}/lists/spk2utt {out}",
    "sv-score": "{root}/lists/trials --test {root}/a/dvector.scp -o {out}/scores",
    "sv-train-backend": "{root}/a/dvector.scp {root}/lists {out} --lda-dim 3",
    "sv-normalize-scores": "{root}/lists/trials {root}/a/scores --test {root}/a/dvector.scp --cohort {root}/cohort/dvector.scp -o {out}/scores",
    "sv-calibrate": "{root}/lists/trials {root}/a/scores -o {out}/calibration.json",
    "sv-fuse": "--scores {root}/a/scores --scores {root}/b/scores --weights-from {root}/lists/trials -o {out}/scores",
    "sv-train-ivector": "{root}/features {out} --config {root}/ivector.toml --nj 1",
    "sv-extract-ivector": "{root}/ivectors {root}/features {out} --nj 1",
}


@pytest.fixture
def scored(data, rng):
    write_scored(data, rng)
    return data


def test_kills_between_any_two_files_and_a_rerun_leave_the_bytes_of_an_undisturbed_run(scored):
    for name, arguments in MORE_COMMANDS.items():
        whole, killed = scored / "whole" / name, scored / "killed" / name
        assert run_killed(name, arguments.format(root=scored, out=whole), None) == 0
        statuses = [run_killed(name, arguments.format(root=scored, out=killed), count) for count in (0, 1)]
        assert statuses[0] == -9, f"{name} was never caught at work"
        assert run_killed(name, arguments.format(root=scored, out=killed), None) == 0, name
        assert content(killed) == content(whole), name
