"""sv-eval-identification: numbers, counts, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from sv_toolkit.cli.evaluate_identification import command
from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.metrics.detection import equal_error_rate
from sv_toolkit.metrics.identification import anchor_trials, candidate_scores, top_k_accuracy


@pytest.fixture
def folder(tmp_path, rng):
    """Twelve speakers of seven utterances, noisy enough that one enrollment utterance errs."""
    speakers = rng.normal(size=(12, 8))
    vectors = {f"s{i:02d}-u{j}": (speakers[i] + rng.normal(size=8)).astype(np.float32) for i in range(12) for j in range(7)}
    write_ark_scp(tmp_path, "dvector", vectors)
    (tmp_path / "utt2spk").write_text("".join(f"{key} {key[:3]}\n" for key in vectors))
    return tmp_path, np.array(list(vectors.values()))


def run(folder, *arguments):
    return CliRunner().invoke(command, [str(folder / "dvector.scp"), str(folder / "utt2spk"), *map(str, arguments)])


def test_the_numbers_are_those_of_the_metrics(folder):
    path, vectors = folder
    result = run(path, "--num-candidates", 10, "--seed", 3, "--json", path / "out" / "x.json")
    assert result.exit_code == 0, result.stderr
    trials = anchor_trials(np.repeat(np.arange(12), 7), 10, np.random.default_rng(3))
    scores = candidate_scores(vectors, vectors, trials)
    accuracy, eer = top_k_accuracy(scores, np.zeros(84, int)), equal_error_rate(scores[:, 0], scores[:, 1:].ravel())
    assert result.stdout.splitlines() == [
        f"ACC {100 * accuracy:.2f} %, EER {100 * eer:.2f} %",
        "trials    84 test utterances, 10 candidates each, 12 speakers, seed 3",
    ]
    assert json.loads((path / "out" / "x.json").read_text())["single utterances"]["accuracy"] == accuracy


def test_fewer_speakers_than_candidates_are_all_used_and_said(folder):
    assert "12 candidates each (all speakers: fewer than 100)" in run(folder[0]).stdout


def test_enrollment_counts_share_their_test_utterances(folder):
    lines = run(folder[0], "--num-enroll", 1, "--num-enroll", 5).stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["1 enrolled", "5 enrolled"]
    assert "24 test utterances" in lines[2]  # two of seven are left, for one as for five
    one, five = (float(line.split("ACC ")[1].split(" %")[0]) for line in lines[:2])
    assert one < five


def test_further_rates_are_printed_as_asked_for(folder):
    (line, _) = run(folder[0], "--top-k", 3, "--top-k", 12, "--at-far", 0.05, "--at-far", 1).stdout.splitlines()
    parts = dict(part.rsplit(" ", 2)[:2] for part in line.split(", "))
    assert float(parts["ACC"]) <= float(parts["top 3"]) <= float(parts["top 12"]) == 100
    assert float(parts["identified at FAR 5 %"]) <= float(parts["identified at FAR 100 %"]) <= float(parts["ACC"])


def test_the_same_command_prints_the_same(folder):
    assert run(folder[0], "--num-candidates", 5).stdout == run(folder[0], "--num-candidates", 5).stdout
    assert run(folder[0], "--num-candidates", 5).stdout != run(folder[0], "--num-candidates", 5, "--seed", 1).stdout


@pytest.mark.parametrize(
    ("lines", "arguments", "message"),
    [
        (slice(0, -1), (), "utt2spk: does not say the speaker of s11-u6 (1 in all)"),
        (slice(None), ("--num-enroll", 7), "no speaker has more than 7 utterances"),
        (slice(None), ("--num-enroll", 8), "at least two speakers with enough utterances"),
    ],
)
def test_what_cannot_be_tested_is_refused(folder, lines, arguments, message):
    path = folder[0]
    kept = (path / "utt2spk").read_text().splitlines()[lines]
    (path / "utt2spk").write_text("".join(f"{line}\n" for line in kept))
    result = run(path, *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr


def test_a_vector_without_direction_is_refused(folder):
    write_ark_scp(folder[0], "dvector", {"s00-u0": np.ones(4, np.float32), "s00-u1": np.zeros(4, np.float32)})
    result = run(folder[0])
    assert result.exit_code == 1
    assert "s00-u1" in result.stderr
    assert "the vector is zero" in result.stderr
