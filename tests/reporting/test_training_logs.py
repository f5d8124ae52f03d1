"""Training logs as curves: against steps, and against the time of all runs together."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sv_toolkit.errors import DataError
from sv_toolkit.reporting.training_logs import read_records, read_training, seconds_of_steps


def write(path, records, end=""):
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + end)
    return path


def test_curves_are_what_the_log_says(tmp_path):
    write(tmp_path / "train.jsonl", [{"step": 10, "loss": 2.0, "scale": 1}, {"step": 20, "loss": 1.0}, {"step": 20, "dev_eer": 0.1}])
    timing = write(
        tmp_path / "time", [{"step": 10, "seconds": 1.5}, {"step": 20, "seconds": 3.0}, {"step": 20, "seconds": 3.5, "dev_eer": 0.1}]
    )
    log = read_training(tmp_path, timing)
    assert {name: (steps.tolist(), values.tolist()) for name, (steps, values) in log.curves.items()} == {
        "loss": ([10, 20], [2, 1]),
        "scale": ([10], [1]),
        "dev_eer": ([20], [0.1]),
    }
    assert [each.tolist() for each in log.against_time("loss")] == [[1.5, 3.5], [2, 1]]
    assert [each.tolist() for each in log.against_time("nothing")] == [[], []]


def test_without_a_timing_log_there_is_no_time(tmp_path):
    write(tmp_path / "train.jsonl", [{"step": 1, "loss": 2.0}])
    assert [len(each) for each in read_training(tmp_path, None).against_time("loss")] == [0, 0]


def test_a_run_that_goes_on_adds_its_time():
    first = [{"step": step, "seconds": step / 10} for step in (10, 20, 30)]
    second = [{"step": step, "seconds": (step - 20) / 10} for step in (30, 40)]  # from the checkpoint of step 20
    third = [{"step": 50, "seconds": 0.5}]
    assert seconds_of_steps(first + second + third) == {10: 1, 20: 2, 30: 3 + 1, 40: 3 + 2, 50: 3 + 2 + 0.5}


def test_a_run_that_begins_anew_forgets_the_one_before():
    old = [{"step": step, "seconds": step} for step in (10, 20)]
    new = [{"step": step, "seconds": step / 2} for step in (10, 20, 30)]
    assert seconds_of_steps(old + new) == {10: 5, 20: 10, 30: 15}


def test_steps_come_in_order_and_the_last_value_counts(tmp_path):
    write(tmp_path / "train.jsonl", [{"step": 2, "loss": 5}, {"step": 1, "loss": 4}, {"step": 2, "loss": 3}])
    steps, values = read_training(tmp_path, None).curves["loss"]
    assert (steps.tolist(), values.tolist()) == ([1, 2], [4, 3])


def test_values_that_are_no_numbers_are_left_out_and_nan_is_kept(tmp_path):
    path = write(tmp_path / "log", [{"step": 1, "loss": float("nan"), "note": "x", "list": [1], "flag": True}])
    (record,) = read_records(path)
    assert set(record) == {"step", "loss"}
    assert np.isnan(record["loss"])


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    path = write(tmp_path / "log", [{"step": 1}], end='{"step": 2, "lo')
    assert read_records(path) == [{"step": 1.0}]


@pytest.mark.parametrize(
    "line", ["no JSON", "[1]", "3", '{"loss": 1}', '{"step": -1}', '{"step": 1e400}', "[" * 100_000, '{"step": 1' + "0" * 5000 + "}"]
)
def test_a_line_that_cannot_be_understood_is_named(tmp_path, line):
    (tmp_path / "log").write_text('{"step": 1}\n' + line + "\n")
    with pytest.raises(DataError, match=r"log:2: ") as caught:
        read_records(tmp_path / "log")
    assert len(str(caught.value)) < 400


def test_a_missing_or_an_empty_log_is_said(tmp_path):
    with pytest.raises(DataError, match="no such file; sv-train"):
        read_records(tmp_path / "log")
    (tmp_path / "log").write_text("")
    with pytest.raises(DataError, match="empty"):
        read_records(tmp_path / "log")
