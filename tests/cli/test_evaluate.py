"""sv-eval: options, output, and what is refused."""

from __future__ import annotations

import json

import click
import numpy as np
import pytest
from click.testing import CliRunner

from sv_toolkit.cli.evaluate import command as evaluate
from sv_toolkit.metrics.detection import COSTS, cllr, equal_error_rate, false_alarm_rate_at, false_reject_rate_at
from sv_toolkit.metrics.hull import min_cllr, rocch_eer
from sv_toolkit.reporting.conditions import CONDITIONS

IDS = [f"s{speaker:02d}-u{number}" for speaker in range(12) for number in range(3)]
PAIRS = [(a, b) for i, a in enumerate(IDS) for b in IDS[i + 1 :]]
IS_TARGET = np.array([a[:3] == b[:3] for a, b in PAIRS])


@pytest.fixture
def values(rng):
    return rng.normal(1.5 * IS_TARGET).round(4)


@pytest.fixture
def folder(tmp_path, values):
    (tmp_path / "trials").write_text("".join(f"{a} {b} {'target' if same else 'nontarget'}\n" for (a, b), same in zip(PAIRS, IS_TARGET)))
    (tmp_path / "scores").write_text("".join(f"{a} {b} {value}\n" for (a, b), value in zip(PAIRS, values)))
    (tmp_path / "utt2spk").write_text("".join(f"{key} {key[:3]}\n" for key in IDS))
    return tmp_path


def run(folder, *arguments):
    return CliRunner().invoke(evaluate, [str(folder / "trials"), str(folder / "scores"), *map(str, arguments)])


def test_the_result_has_rate_interval_costs_counts_and_list(folder, values):
    result = run(folder)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["EER", "minDCF", "minDCF", "interval", "trials"]
    assert lines[0].split()[1] == f"{100 * equal_error_rate(values[IS_TARGET], values[~IS_TARGET]):.2f}"
    assert "[" in lines[0]
    assert "12 speakers" in lines[3]
    assert "36 target, 594 nontarget, list " in lines[4]


def test_the_same_command_prints_the_same(folder):
    assert run(folder).stdout == run(folder).stdout
    assert run(folder).stdout != run(folder, "--seed", 1).stdout


def test_scores_may_have_any_order(folder, rng):
    ordered = run(folder).stdout
    lines = (folder / "scores").read_text().splitlines()
    (folder / "scores").write_text("".join(f"{line}\n" for line in rng.permutation(lines)))
    assert run(folder).stdout == ordered


def test_without_speakers_the_interval_is_missed_aloud(folder):
    (folder / "utt2spk").rename(folder / "moved")
    result = run(folder)
    assert result.exit_code == 0
    assert "interval  not available: no utt2spk beside the trial list" in result.stdout
    (folder / "data").mkdir()
    (folder / "moved").rename(folder / "data" / "utt2spk")
    assert "12 speakers" in run(folder, "--data", folder / "data").stdout


def test_models_take_the_speakers_of_their_utterances(tmp_path):
    (tmp_path / "utt2spk").write_text("".join(f"{key} {key[:3]}\n" for key in IDS))
    (tmp_path / "models").write_text("".join(f"m{s} s{s:02d}-u0 s{s:02d}-u1\n" for s in range(12)))
    pairs = [(a, b) for a in range(12) for b in range(12)]
    (tmp_path / "trials").write_text("".join(f"m{a} s{b:02d}-u2 {'target' if a == b else 'nontarget'}\n" for a, b in pairs))
    (tmp_path / "scores").write_text("".join(f"m{a} s{b:02d}-u2 {(a == b) + (a * 7 + b * 5) % 11 / 8}\n" for a, b in pairs))
    assert "not available" in run(tmp_path).stdout
    assert "12 speakers" in run(tmp_path, "--enroll-spk2utt", tmp_path / "models").stdout


def test_costs_are_printed_as_asked_for(folder):
    lines = run(folder, "--p-target", 0.5, "--cost", "sre16", "--calibrated").stdout.splitlines()
    assert [line.split(" at ")[1] for line in lines if "DCF" in line] == ["p_target 0.5", "sre16", "p_target 0.5", "sre16"]
    assert sum(line.startswith("actDCF") for line in lines) == 2
    assert "actDCF" not in run(folder).stdout


def test_a_row_for_results_comes_instead(folder):
    (row,) = run(folder, "--results-row", "LSTM", "--wall-time", 75, "--command", "./run.sh --seed 1").stdout.splitlines()
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[1] == "LSTM"
    assert cells[-3:-1] == ["1 min 15 s", "`./run.sh --seed 1`"]


def test_a_row_goes_to_a_file_where_one_is_named_and_the_results_are_printed_as_ever(folder):
    table = folder / "RESULTS.md"
    result = run(folder, "--results-row", "LSTM", "--append-to", table)
    assert result.stdout == run(folder).stdout
    assert table.read_text().splitlines()[-1] == run(folder, "--results-row", "LSTM").stdout.rstrip("\n")
    assert run(folder, "--append-to", table).exit_code == 2


def test_a_breakdown_has_a_result_per_condition(folder):
    (folder / "utt2session").write_text("".join(f"{key} {'a' if key[-1] == '0' else 'b'}\n" for key in IDS))
    text = run(folder, "--by", "session").stdout
    assert [line for line in text.splitlines() if line.endswith(":")] == ["all trials:", "different session:", "same session:"]
    rows = run(folder, "--by", "session", "--results-row", "LSTM").stdout.splitlines()
    assert [row.split("|")[1].strip() for row in rows] == ["LSTM", "LSTM, different session", "LSTM, same session"]
    (folder / "utt2device").write_text("".join(f"{key} {key[-1]}\n" for key in IDS))
    two = run(folder, "--by", "session", "--by", "device", "--results-row", "LSTM").stdout.splitlines()
    assert two[:3] == rows
    assert [row.split("|")[1].strip() for row in two[3:]] == ["LSTM, different device", "LSTM, same device"]
    missing = run(folder, "--by", "keyword")
    assert missing.exit_code == 1
    assert "utt2keyword: no such file" in missing.stderr


def test_json_and_det_points_come_besides(folder):
    result = run(folder, "--json", folder / "new" / "result.json", "--det")
    table = json.loads((folder / "new" / "result.json").read_text())["all trials"]
    assert f"{100 * table['eer']['value']:.2f}" in result.stdout
    points = [line.split() for line in result.stdout.splitlines()[6:]]
    assert points[0][1:] == ["0", "1"]
    assert points[-1] == ["inf", "1", "0"]


def test_choices_are_those_of_the_library():
    choices = {option.name: option.type.choices for option in evaluate.params if isinstance(option.type, click.Choice)}
    assert set(choices["cost"]) == set(COSTS)
    assert set(choices["by"]) == set(CONDITIONS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [line for line in lines if line.split()[0] != "s00-u0"], "missing for 35 of 630 trials, the first: s00-u0 s00-u1"),
        (lambda lines: [*lines, "s99-u9 s00-u1 0.5"], "not in"),
        (lambda lines: [*lines[:2], "s00-u0 s01-u0 nan", *lines[3:]], "scores:3: a score must be a finite number, got 'nan'"),
        (lambda lines: [], "empty"),
    ],
    ids=["missing", "unknown", "NaN", "no scores"],
)
def test_scores_that_do_not_fit_the_list_give_no_number(folder, change, message):
    lines = change((folder / "scores").read_text().splitlines())
    (folder / "scores").write_text("".join(f"{line}\n" for line in lines))
    result = run(folder)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("kind", ["target", "nontarget"])
def test_trials_of_one_kind_give_no_number(folder, kind):
    for name in ("trials", "scores"):
        lines = [line for line, same in zip((folder / name).read_text().splitlines(), IS_TARGET) if same == (kind == "target")]
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    result = run(folder)
    assert result.exit_code == 1
    assert f"no {'nontarget' if kind == 'target' else 'target'} trial" in result.stderr


def test_equal_scores_are_half_and_warned_of(folder):
    (folder / "scores").write_text("".join(f"{a} {b} 0.5\n" for a, b in PAIRS))
    result = run(folder)
    assert result.stdout.startswith("EER       50.00 %")
    assert "warning: all scores are equal" in result.stderr


@pytest.mark.parametrize(
    "option",
    [
        ("--p-target", "nan"),
        ("--at-far", "nan"),
        ("--at-frr", "inf"),
        ("--wall-time", "nan"),
        ("--wall-time", "inf"),
        ("--num-bootstrap", 1),
    ],
    ids=str,
)
def test_numbers_that_are_none_are_mistakes_of_the_command_line(folder, option):
    result = run(folder, *option)
    assert result.exit_code == 2 and option[0] in result.stderr


def test_a_prior_outside_its_range_is_a_mistake_of_the_command_line(folder):
    result = run(folder, "--p-target", 1)
    assert result.exit_code == 2
    assert "0<x<1" in result.stderr


def test_operating_points_may_be_given_by_either_name(folder):
    assert (
        run(folder, "--operating-point", "sre10", "--operating-point", "sre16").stdout
        == run(folder, "--cost", "sre10", "--cost", "sre16").stdout
    )


def test_what_is_asked_for_besides_is_printed(folder, values):
    lines = run(
        folder, "--hull", "--calibrated", "--at-far", 0.01, "--at-far", 0.1, "--at-frr", 0.05, "--num-bootstrap", 0
    ).stdout.splitlines()
    target, nontarget = values[IS_TARGET], values[~IS_TARGET]
    assert f"Cllr      {cllr(target, nontarget):.4f} bits" in lines
    assert f"minCllr   {min_cllr(target, nontarget):.4f} bits" in lines
    assert f"ROCCH-EER {100 * rocch_eer(target, nontarget):.2f} %" in lines
    assert f"FRR at FAR 1 % {100 * false_reject_rate_at(target, nontarget, 0.01):.2f} %" in lines
    assert f"FRR at FAR 10 % {100 * false_reject_rate_at(target, nontarget, 0.1):.2f} %" in lines
    assert f"FAR at FRR 5 % {100 * false_alarm_rate_at(target, nontarget, 0.05):.2f} %" in lines


@pytest.fixture
def other(folder, values, rng):
    """Scores of a second, worse system, on another scale."""
    worse = 20 * (values + rng.normal(size=len(values)))
    path = folder / "other"
    path.write_text("".join(f"{a} {b} {value}\n" for (a, b), value in zip(PAIRS, worse)))
    return path


def test_two_systems_are_compared_in_one_block(folder, values, other):
    result = run(folder, "--compare", other, "--json", folder / "result.json")
    assert result.exit_code == 0
    assert result.stdout.startswith(run(folder).stdout)
    block = result.stdout[len(run(folder).stdout) :].strip().splitlines()
    assert [line.split()[0] for line in block] == ["difference:", "EER", "minDCF", "minDCF", "interval", "trials"]
    found = json.loads((folder / "result.json").read_text())["comparison"]
    first = equal_error_rate(values[IS_TARGET], values[~IS_TARGET])
    assert found["first"]["EER"] == first
    difference = found["differences"]["EER"]
    assert difference["difference"] == pytest.approx(first - found["second"]["EER"])
    assert difference["interval"]["low"] < difference["difference"] < difference["interval"]["high"]
    assert f"= {100 * difference['difference']:+.2f} [" in block[1]
    assert "p = " in block[1] or "p < 0.001" in block[1]
    assert "12 speakers resampled 1000 times for both systems at once" in block[4]


def test_a_comparison_without_speakers_has_no_interval(folder, other):
    (folder / "utt2spk").unlink()
    block = run(folder, "--compare", other).stdout.split("difference:")[1]
    assert "interval  not available: no utt2spk" in block
    assert "[" not in block.splitlines()[1]


def test_streaming_gives_the_same_numbers_within_bounds(folder, values):
    result = run(folder, "--streaming", "--json", folder / "result.json")
    assert result.exit_code == 0, result.stderr
    exact = equal_error_rate(values[IS_TARGET], values[~IS_TARGET])
    found = json.loads((folder / "result.json").read_text())["all trials"]
    assert found["eer"]["low"] - 1e-12 <= exact <= found["eer"]["high"] + 1e-12
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["EER", "minDCF", "minDCF", "interval", "trials"]
    assert "36 target, 594 nontarget" in lines[4]


def test_streaming_refuses_other_orders_and_what_needs_all_scores(folder, other):
    lines = (folder / "scores").read_text().splitlines()
    (folder / "scores").write_text("".join(f"{line}\n" for line in reversed(lines)))
    result = run(folder, "--streaming")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "same order" in result.stderr
    assert run(folder, "--streaming", "--hull").exit_code == 2
    assert run(folder, "--streaming", "--append-to", folder / "RESULTS.md").exit_code == 2
    assert run(folder, "--compare", other, "--results-row", "x").exit_code == 2


@pytest.mark.parametrize(("kind", "label"), [("target", "nontarget"), ("nontarget", "target")])
def test_streaming_needs_both_kinds_of_trials(folder, kind, label):
    text = (folder / "trials").read_text().replace(" nontarget", " target")
    (folder / "trials").write_text(text.replace(" target", f" {kind}"))
    result = run(folder, "--streaming")
    assert result.exit_code == 1
    assert f"no {label} trial" in result.stderr


def test_files_in_the_wrong_order_are_told_as_such(folder):
    swapped = CliRunner().invoke(evaluate, [str(folder / "scores"), str(folder / "trials")])
    assert swapped.exit_code == 1
    assert "these are scores: the trial list comes first, then the scores" in swapped.stderr
    twice = CliRunner().invoke(evaluate, [str(folder / "trials"), str(folder / "trials")])
    assert "this is a trial list: it comes first, then the scores" in twice.stderr
