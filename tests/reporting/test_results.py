"""Evaluations: the numbers are those of the metrics, the words say what they are of."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import numpy as np
import pytest

from sv_toolkit.data.trials import make
from sv_toolkit.errors import DataError
from sv_toolkit.metrics.detection import COSTS, OperatingPoint, equal_error_rate, min_dcf
from sv_toolkit.reporting.conditions import Origin
from sv_toolkit.reporting.provenance import Provenance
from sv_toolkit.reporting.results import (
    ALL,
    Settings,
    as_json,
    chosen_costs,
    evaluate_by,
    one_line,
    text_lines,
    warn,
)
from sv_toolkit.reporting.rows import ROW_HEADER, append_rows, markdown_rows

SETTINGS = Settings(chosen_costs((), ()), num_replicates=50)
ORIGIN = Provenance("0123456789", "2030-01-31", "a processor, 2 cores", "7 min 05 s", "./run.sh | tee log")


@pytest.fixture
def world(tmp_path, rng):
    """Twelve speakers, three utterances each, all pairs; the third utterance is another keyword."""
    ids = [f"s{speaker:02d}-u{number}" for speaker in range(12) for number in range(3)]
    (tmp_path / "utt2spk").write_text("".join(f"{key} {key[:3]}\n" for key in ids))
    (tmp_path / "utt2keyword").write_text("".join(f"{key} {'yes' if key[-1] != '2' else 'no'}\n" for key in ids))
    pairs = [(a, b) for i, a in enumerate(ids) for b in ids[i + 1 :]]
    is_target = np.array([a[:3] == b[:3] for a, b in pairs])
    return make(pairs, is_target, tmp_path / "trials"), rng.normal(1.5 * is_target), Origin.find(tmp_path / "trials", None, None)


@pytest.fixture
def messages(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)
    return caplog


def test_numbers_are_those_of_the_metrics(world):
    trials, scores, origin = world
    found = evaluate_by(trials, scores, origin, SETTINGS)[ALL]
    target, nontarget = scores[trials.is_target], scores[~trials.is_target]
    assert found.eer.value == equal_error_rate(target, nontarget)
    assert {label: cost.value for label, cost in found.min_dcf.items()} == {
        f"p_target {p:g}": min_dcf(target, nontarget, OperatingPoint(p)) for p in (0.01, 0.05)
    }
    assert (found.num_targets, found.num_nontargets, found.num_speakers) == (36, 594, 12)
    assert found.eer.interval.low < found.eer.value < found.eer.interval.high
    assert found.actual_dcf == {}


def test_costs_can_be_chosen_by_prior_and_by_name():
    costs = chosen_costs((0.5, 0.5), ("sre16", "sre08"))
    assert [(cost.label, cost.points) for cost in costs] == [
        ("p_target 0.5", (OperatingPoint(0.5),)),
        ("sre16", COSTS["sre16"]),
        ("sre08", COSTS["sre08"]),
    ]


def test_actual_costs_are_given_for_calibrated_scores_only(world):
    trials, scores, origin = world
    found = evaluate_by(trials, scores, origin, Settings(chosen_costs((0.05,), ()), 0, calibrated=True))[ALL]
    assert found.actual_dcf["p_target 0.05"] >= found.min_dcf["p_target 0.05"].value


def test_without_speakers_the_reason_stands_in_the_place_of_the_interval(world, tmp_path):
    trials, scores, origin = world
    (tmp_path / "utt2spk").unlink()
    results = evaluate_by(trials, scores, Origin.find(tmp_path / "trials", None, None), SETTINGS)
    assert results[ALL].eer.interval is None
    assert "interval  not available: no utt2spk" in "\n".join(text_lines(results, SETTINGS))
    unasked = evaluate_by(trials, scores, origin, Settings(SETTINGS.costs, 0))
    assert unasked[ALL].no_interval == "--num-bootstrap 0"


def test_too_few_speakers_with_targets_give_no_interval(tmp_path):
    (tmp_path / "utt2spk").write_text("a1 a\na2 a\nb b\nc c\n")
    trials = make([("a1", "a2"), ("a1", "b"), ("b", "c")], [True, False, False], tmp_path / "trials")
    found = evaluate_by(trials, np.array([3.0, 1.0, 2.0]), Origin.find(trials.path, None, None), SETTINGS)[ALL]
    assert found.no_interval == "only 1 speaker has target trials"


def test_conditions_are_evaluated_on_their_own_trials_and_named(world):
    trials, scores, origin = world
    results = evaluate_by(trials, scores, origin, SETTINGS, "keyword")
    assert list(results) == [ALL, "different keyword", "same keyword"]
    same = np.array([a[-1] == b[-1] or "2" not in a[-1] + b[-1] for a, b in map(str.split, map(trials.pair, range(len(trials))))])
    assert results["same keyword"].eer.value == equal_error_rate(scores[same & trials.is_target], scores[same & ~trials.is_target])
    assert sum(results[name].num_targets for name in list(results)[1:]) == results[ALL].num_targets
    assert {found.list_hash for found in results.values()} == {trials.short_hash}
    assert [line for line in text_lines(results, SETTINGS) if line.endswith(":")] == [f"{name}:" for name in results]


def test_a_condition_of_one_kind_of_trials_has_no_eer(world, tmp_path):
    trials, scores, origin = world
    (tmp_path / "spk2gender").write_text("".join(f"s{speaker:02d} {'mf'[speaker % 2]}\n" for speaker in range(12)))
    results = evaluate_by(trials, scores, origin, SETTINGS, "gender")
    assert results["gender f-m"].eer is None
    assert "EER       not defined: trials of one kind only" in text_lines(results, SETTINGS)
    assert "| not defined |" in markdown_rows("x", results, ORIGIN)[2]


@pytest.mark.parametrize(
    ("is_target", "message"),
    [([True, True], "no nontarget trial among 2"), ([False, False], "no target trial among 2"), (None, "has no labels")],
)
def test_lists_without_both_kinds_are_refused(tmp_path, is_target, message):
    trials = make([("a", "b"), ("a", "c")], is_target, tmp_path / "trials")
    with pytest.raises(DataError, match=message):
        evaluate_by(trials, np.array([1.0, 2.0]), Origin(tmp_path, None, None), SETTINGS)


def test_text_does_not_depend_on_the_order_of_the_list(world, rng):
    trials, scores, origin = world
    scores = scores.round(1)
    order = rng.permutation(len(trials))
    pairs = [tuple(trials.pair(position).split()) for position in order]
    shuffled = make(pairs, trials.is_target[order], trials.path)
    assert text_lines(evaluate_by(shuffled, scores[order], origin, SETTINGS), SETTINGS) == text_lines(
        evaluate_by(trials, scores, origin, SETTINGS), SETTINGS
    )


def test_a_row_has_the_cells_of_the_header_and_no_stray_bars(world):
    trials, scores, origin = world
    (row,) = markdown_rows("GE2E | LSTM", evaluate_by(trials, scores, origin, SETTINGS), ORIGIN)
    cells = row.replace("\\|", "/").split("|")
    assert len(cells) == len(ROW_HEADER.splitlines()[0].split("|"))
    assert [cell.strip() for cell in cells[1:]] == [
        "GE2E / LSTM",
        cells[2].strip(),
        cells[3].strip(),
        f"36 target / 594 nontarget, {trials.short_hash}",
        "0123456789",
        "2030-01-31",
        "a processor, 2 cores",
        "7 min 05 s",
        "`./run.sh / tee log`",
        "",
    ]
    assert cells[2].split("%")[0].strip() == f"{100 * equal_error_rate(scores[trials.is_target], scores[~trials.is_target]):.2f}"


def test_a_condition_of_a_map_of_the_data_brings_no_markup_into_the_row(world):
    trials, scores, origin = world
    (found,) = evaluate_by(trials, scores, origin, SETTINGS).values()
    (row,) = markdown_rows("x", {"keyword <script>a|b\x1b": found}, ORIGIN)
    assert row.startswith(r"| x, keyword &lt;script>a\|b\x1b | ")


def test_rows_do_not_go_into_a_table_of_something_else(tmp_path):
    path = tmp_path / "RESULTS.md"
    path.write_text("| a | b |\n|---|---|\n| 1 | 2 |\n")
    append_rows(path, ["| one |"])
    assert path.read_text() == f"| a | b |\n|---|---|\n| 1 | 2 |\n\n{ROW_HEADER}\n| one |\n"


def test_a_command_stays_between_its_backticks(world):
    trials, scores, origin = world
    (row,) = markdown_rows("x", evaluate_by(trials, scores, origin, SETTINGS), replace(ORIGIN, command="./run.sh --corpus `pwd`\n| <b>"))
    assert row.endswith(r"| `./run.sh --corpus pwd \| <b>` |")


@pytest.mark.parametrize("before", [None, "", "# Results\n", "# Results", f"{ROW_HEADER}\n| old |\n"])
def test_rows_added_to_a_file_stand_in_a_table(tmp_path, before):
    path = tmp_path / "RESULTS.md"
    if before is not None:
        path.write_text(before)
    append_rows(path, ["| one |"])
    append_rows(path, ["| two |", "| three |"])
    text = path.read_text()
    assert text.startswith(before or "")
    assert text.count(ROW_HEADER) == 1
    assert text[text.index(ROW_HEADER) :].splitlines()[2:] == (["| old |"] if "old" in text else []) + ["| one |", "| two |", "| three |"]
    assert f"\n\n{ROW_HEADER}" in text or text.startswith(ROW_HEADER)


def test_a_row_of_calibrated_scores_tells_what_they_cost(world):
    trials, scores, origin = world
    results = evaluate_by(trials, scores, origin, Settings(chosen_costs((), ()), num_replicates=0, calibrated=True))
    (row,) = markdown_rows("x", results, ORIGIN)
    found = results[ALL]
    assert f"; actDCF {found.actual_dcf['p_target 0.01']:.3f} (p_target 0.01), " in row
    assert f"; Cllr {found.bits['Cllr']:.4f}, minCllr {found.bits['minCllr']:.4f} |" in row


def test_json_holds_everything_at_full_precision(world):
    trials, scores, origin = world
    results = evaluate_by(trials, scores, origin, SETTINGS, "keyword")
    table = json.loads(as_json(results))
    assert table[ALL]["eer"]["value"] == results[ALL].eer.value
    assert (
        table["same keyword"]["min_dcf"]["p_target 0.01"]["interval"]["high"]
        == results["same keyword"].min_dcf["p_target 0.01"].interval.high
    )


def test_weak_results_come_with_a_warning(world, tmp_path, messages):
    trials, _, origin = world
    constant = np.full(len(trials), 0.5)
    results = evaluate_by(trials, constant, origin, SETTINGS)
    assert results[ALL].eer.value == 0.5
    warn(trials, constant, results)
    assert "all scores are equal (0.5)" in messages.text
    assert "no errors" not in messages.text
    perfect = trials.is_target.astype(float)
    warn(trials, perfect, evaluate_by(trials, perfect, origin, SETTINGS))
    assert "no errors: the upper end of the EER comes from the number of target trials" in messages.text
    small = make([("a", "b"), ("a", "c")], [True, False], tmp_path / "trials")
    warn(small, np.array([1.0, 0.0]), evaluate_by(small, np.array([1.0, 0.0]), Origin(tmp_path, None, None), SETTINGS))
    assert "few target trials: a rate from 1 target trial is rough" in messages.text


def test_long_lists_say_that_they_get_fewer_replicates(world, messages, monkeypatch):
    from sv_toolkit.metrics import intervals

    monkeypatch.setattr(intervals, "TRIAL_VISITS", 1)
    monkeypatch.setattr(intervals, "MIN_REPLICATES", 20)
    messages.set_level(logging.INFO)
    trials, scores, origin = world
    results = evaluate_by(trials, scores, origin, SETTINGS)
    assert results[ALL].eer.interval.num_replicates == 20
    assert "20 replicates instead of 50" in messages.text


@pytest.mark.parametrize(
    ("is_target", "missing", "expected"),
    [
        ([True, False, False], 0, "EER 0.00 %: 1 target, 2 nontarget, list abc"),
        ([True, False, False], 2, "EER 0.00 %: 1 target, 2 nontarget, list abc; 2 of 5 trials left out: no embedding"),
        (None, 0, "3 trials scored, list abc (no labels, so no EER)"),
        ([False, False, False], 1, "3 trials scored, list abc (only nontargets, so no EER); 1 of 4 trials left out: no embedding"),
    ],
)
def test_one_line_says_what_was_scored_and_what_was_left_out(tmp_path, is_target, missing, expected):
    trials = make([("a", "b"), ("a", "c"), ("b", "c")], is_target, tmp_path / "trials")
    assert one_line(trials, np.array([2.0, 1.0, 0.0]), missing, "abc") == expected
