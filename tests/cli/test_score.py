"""sv-score: where scores and messages go, what is refused, and that it agrees with sv-eval."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sv_toolkit.backends.cosine import cosine_scores
from sv_toolkit.cli.evaluate import command as evaluate
from sv_toolkit.cli.score import command as score
from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.io.manifest import Manifest, describe_file, write_manifest

BIN = Path(__file__).resolve().parents[2] / "bin"
IDS = [f"s{speaker}-u{number}" for speaker in range(6) for number in range(3)]
PAIRS = [(a, b) for i, a in enumerate(IDS) for b in IDS[i + 1 :]]


@pytest.fixture
def vectors(rng):
    speakers = rng.normal(size=(6, 1, 8))
    return dict(zip(IDS, (speakers + 0.8 * rng.normal(size=(6, 3, 8))).reshape(18, 8).astype(np.float32)))


@pytest.fixture
def folder(tmp_path, vectors):
    """A trial list with its embeddings beside it."""
    write_trials(tmp_path / "trials.txt")
    write_ark_scp(tmp_path, "dvector", vectors)
    return tmp_path


def write_trials(path, pairs=PAIRS, label=lambda a, b: " target" if a[:2] == b[:2] else " nontarget"):
    path.write_text("".join(f"{a} {b}{label(a, b)}\n" for a, b in pairs))
    return path


def run(*arguments, command=score):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def read_scores(text):
    return {tuple(line.split()[:2]): float(line.split()[2]) for line in text.splitlines()}


def test_scores_are_cosines_in_the_order_of_the_trials(folder, vectors):
    result = run(folder / "trials.txt")
    assert result.exit_code == 0
    scores = read_scores(result.stdout)
    assert list(scores) == PAIRS
    matrix = np.stack(list(vectors.values()))
    index = {key: row for row, key in enumerate(IDS)}
    expected = cosine_scores(matrix, matrix, np.array([index[a] for a, _ in PAIRS]), np.array([index[b] for _, b in PAIRS]))
    np.testing.assert_allclose(list(scores.values()), expected, atol=1e-6)


def test_scores_go_to_stdout_and_the_eer_to_stderr_unless_a_file_is_given(folder):
    plain = run(folder / "trials.txt")
    assert "EER" in plain.stderr
    assert "18 target, 135 nontarget, list " in plain.stderr
    assert len(plain.stdout.splitlines()) == len(PAIRS)
    filed = run(folder / "trials.txt", "-o", folder / "new" / "folder" / "scores")
    assert filed.stdout == plain.stderr.removeprefix("sv-score: ")
    assert (folder / "new" / "folder" / "scores").read_text() == plain.stdout
    assert (folder / "new" / "folder" / "scores").stat().st_mode & 0o137 == 0


def test_the_eer_is_the_one_that_sv_eval_reads_from_the_file(folder):
    line = run(folder / "trials.txt", "-o", folder / "scores").stdout
    other = run(folder / "trials.txt", folder / "scores", command=evaluate).stdout
    assert line.split()[:2] == other.split()[:2]
    assert line.split()[-1] == other.split()[-1]  # the hash of the list
    assert line.startswith("EER ")


def test_unlabelled_trials_are_scored_without_an_eer(folder):
    result = run(write_trials(folder / "pairs", label=lambda a, b: ""))
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, len(PAIRS))
    assert "no labels, so no EER" in result.stderr


def test_the_columns_of_voxceleb_lists_are_read_when_asked_for(folder):
    path = folder / "vox"
    path.write_text("".join(f"{int(a[:2] == b[:2])} {a} {b}\n" for a, b in PAIRS))
    assert run(path, "--trials-format", "voxceleb").stdout == run(folder / "trials.txt").stdout
    refused = run(path)
    assert refused.exit_code == 1
    assert "vox:1" in refused.stderr
    assert "--trials-format voxceleb" in refused.stderr


def test_models_are_scored_against_utterances(folder, vectors):
    (folder / "spk2utt").write_text("".join(f"m{s} s{s}-u0 s{s}-u1\n" for s in range(6)))
    pairs = [(f"m{a}", f"s{b}-u2") for a in range(6) for b in range(6)]
    write_trials(folder / "trials", pairs, lambda a, b: " target" if a[1] == b[1] else " nontarget")
    result = run(folder / "trials", "--enroll-spk2utt", folder / "spk2utt")
    assert result.exit_code == 0
    unit = {key: vector / np.linalg.norm(vector) for key, vector in vectors.items()}
    model = unit["s1-u0"] + unit["s1-u1"]
    assert read_scores(result.stdout)["m1", "s4-u2"] == pytest.approx(model @ unit["s4-u2"] / np.linalg.norm(model), abs=1e-6)
    assert "6 target, 30 nontarget" in result.stderr


def test_enroll_and_test_embeddings_may_come_from_two_files(folder, vectors, tmp_path):
    twice = {key: 2 * vector for key, vector in vectors.items()}
    (tmp_path / "b").mkdir()
    scp = write_ark_scp(tmp_path / "b", "other", twice)
    two, one = (read_scores(result.stdout) for result in (run(folder / "trials.txt", "--enroll", scp, "--test", folder / "dvector.scp"), run(folder / "trials.txt")))  # fmt: skip
    assert two == pytest.approx(one, abs=1e-6)  # a product of a matrix with itself is rounded in another way on some processors


def test_missing_embeddings_are_refused_or_left_out_aloud(folder, vectors):
    write_ark_scp(folder, "dvector", {key: vector for key, vector in vectors.items() if key != "s1-u2"})
    refused = run(folder / "trials.txt", "-o", folder / "scores")
    assert refused.exit_code == 1
    assert "s1-u2 has no embedding" in refused.stderr
    assert "17 of 153 trials" in refused.stderr
    assert not (folder / "scores").exists()
    allowed = run(folder / "trials.txt", "-o", folder / "scores", "--allow-missing")
    assert allowed.exit_code == 0
    assert "17 of 153 trials left out" in allowed.stdout
    assert len((folder / "scores").read_text().splitlines()) == 153 - 17


def test_trials_of_an_utterance_with_itself_or_twice_are_warned_of(folder):
    write_trials(folder / "trials", [*PAIRS, PAIRS[0], ("s0-u0", "s0-u0")])
    result = run(folder / "trials")
    assert result.exit_code == 0
    assert "warning" in result.stderr
    assert "1 trials compare an utterance with itself" in result.stderr
    assert "1 trials stand in an earlier line" in result.stderr


def test_embeddings_of_two_models_are_refused(folder, vectors, tmp_path):
    (tmp_path / "b").mkdir()
    scp = write_ark_scp(tmp_path / "b", "dvector", vectors)
    for place, model in ((scp, "aaaa"), (folder / "dvector.scp", "bbbb")):
        write_manifest(place.parent, Manifest("dvector", {"model": model}, {}, {place.name: describe_file(place)}))
    result = run(folder / "trials.txt", "--enroll", scp, "--test", folder / "dvector.scp")
    assert result.exit_code == 1
    assert "aaaa" in result.stderr
    assert "bbbb" in result.stderr


def test_a_command_in_the_place_of_a_file_is_not_run(folder):
    result = run(folder / "trials.txt", "--enroll", f"touch {folder}/ran; echo a b |")
    assert result.exit_code == 1
    assert "no such file" in result.stderr
    assert not (folder / "ran").exists()


def test_what_a_killed_run_left_is_cleared_away(folder):
    (folder / "out").mkdir()
    for name in (".scores.abcdefgh.tmp", ".other.abcdefgh.tmp"):
        (folder / "out" / name).write_text("half a li")
    assert run(folder / "trials.txt", "-o", folder / "out" / "scores").exit_code == 0
    assert sorted(path.name for path in (folder / "out").iterdir()) == [".other.abcdefgh.tmp", "scores"]


# The peak of a process counts from its fork, when it is as large as its parent: so the parent has to be small.
SMALL_PARENT = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.slow
def test_a_million_trials_need_little_memory(folder, rng):
    pairs = (
        f"{IDS[i % 18]} {IDS[j]} {'target' if i % 18 // 3 == j // 3 else 'nontarget'}\n"
        for i, j in enumerate(rng.integers(18, size=1_000_000))
    )
    (folder / "million").write_text("".join(pairs))
    arguments = [sys.executable, BIN / "sv-score", folder / "million", "--test", folder / "dvector.scp", "-o", folder / "scores"]
    result = subprocess.run([sys.executable, "-c", SMALL_PARENT, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    status, kilobytes = map(int, result.stdout.split())
    assert status == 0
    assert kilobytes < 700_000  # the interpreter and numpy among them
