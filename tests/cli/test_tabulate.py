"""sv-tabulate: where the table goes, and what missing runs do."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from sv_toolkit.cli.tabulate import command

EXPERIMENT = """
title = "Two losses"
seeds = [0, 1]
[[columns]]
name = "all"
trials = "trials"
[[systems]]
name = "GE2E"
paper = 3.5
scores = "ge2e-{seed}/scores_{column}"
timing = "ge2e-{seed}/timing.jsonl"
[[systems]]
name = "TE2E"
scores = "te2e-{seed}/scores_{column}"
[[claims]]
text = "GE2E has a lower EER than TE2E"
better = "GE2E"
worse = "TE2E"
"""


@pytest.fixture
def place(tmp_path, rng):
    """Eight speakers, two seeds of two systems, the first far better."""
    ids = [f"s{speaker}-u{number}" for speaker in range(8) for number in range(3)]
    pairs = [(a, b) for i, a in enumerate(ids) for b in ids[i + 1 :]]
    (tmp_path / "data").mkdir()
    (tmp_path / "data/utt2spk").write_text("".join(f"{key} {key[:2]}\n" for key in ids))
    (tmp_path / "data/trials").write_text("".join(f"{a} {b} {'' if a[:2] == b[:2] else 'non'}target\n" for a, b in pairs))
    is_target = np.array([a[:2] == b[:2] for a, b in pairs])
    for name, quality in (("ge2e", 4.0), ("te2e", 0.5)):
        for seed in range(2):
            run = tmp_path / "exp" / f"{name}-{seed}"
            run.mkdir(parents=True)
            scores = rng.normal(size=len(pairs)) + quality * is_target
            (run / "scores_all").write_text("".join(f"{a} {b} {score:.6f}\n" for (a, b), score in zip(pairs, scores)))
            (run / "timing.jsonl").write_text('{"step": 5, "seconds": 2.5, "dev_eer": 0.2}\n{"step": 9, "seconds": 4.5, "dev_eer": 0.1}\n')
    (tmp_path / "losses.toml").write_text(EXPERIMENT)
    return tmp_path


def run(place, *more):
    arguments = [place / "losses.toml", "--exp", place / "exp", "--data", place / "data", "--num-bootstrap", 50, *more]
    return CliRunner().invoke(command, [str(each) for each in arguments])


def test_the_table_is_printed_or_replaces_its_section(place):
    printed = run(place)
    assert printed.exit_code == 0, printed.output
    assert "**reproduced** (all)" in printed.stdout and "paper 3.5 %" in printed.stdout
    results = place / "RESULTS.md"
    results.write_text("# Results\n")
    for _ in range(2):
        assert run(place, "-o", results).stdout == ""
    assert results.read_text() == "# Results\n\n" + printed.stdout


def test_charts_have_their_numbers_beside_them(place):
    assert run(place, "--charts", place / "charts").exit_code == 0
    assert sorted(path.name for path in (place / "charts").iterdir()) == ["dev-eer-by-seconds.svg", "dev-eer-by-steps.svg", "dev-eer.csv"]


def test_missing_runs_are_an_error_unless_allowed(place):
    (place / "exp/te2e-1/scores_all").unlink()
    results = place / "RESULTS.md"
    refused = run(place, "-o", results)
    assert refused.exit_code == 1 and "te2e-1/scores_all: no such file; " in refused.stderr
    assert not results.exists()
    allowed = run(place, "-o", results, "--allow-missing")
    assert allowed.exit_code == 0 and "warning: " in allowed.stderr and "te2e-1/scores_all" in allowed.stderr
    assert ", –)" in results.read_text()


def test_an_unknown_key_is_named(place):
    (place / "losses.toml").write_text(EXPERIMENT.replace("paper =", "papre ="))
    result = run(place)
    assert result.exit_code == 1 and "did you mean 'paper'" in result.stderr
