"""Trials by the length of the test utterance, and which conditions are known at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sv_toolkit.data.trials import make
from sv_toolkit.errors import DataError
from sv_toolkit.reporting.breakdown import DURATION, known_conditions, parts_by
from sv_toolkit.reporting.conditions import Origin


@pytest.fixture
def trials():
    pairs = [("a", "u0"), ("a", "u1"), ("b", "u2"), ("b", "u3"), ("b", "u0")]
    return make(pairs, [True, False, True, False, False], Path("trials"))


def parts(trials, folder):
    return {name: np.flatnonzero(mask).tolist() for name, mask in parts_by(trials, DURATION, Origin(folder, None, None))}


def test_durations_fall_into_bins_of_seconds(trials, tmp_path):
    (tmp_path / "utt2dur").write_text("u0 0.999\nu1 1.0\nu2 100\n")
    assert parts(trials, tmp_path) == {"under 1 s": [0, 4], "1 to 2 s": [1], "32 s and more": [2], "unknown duration": [3]}


def test_without_seconds_there_are_frames(trials, tmp_path):
    (tmp_path / "utt2num_frames").write_text("u0 99\nu1 100\nu2 3200\nu3 399\n")
    assert parts(trials, tmp_path) == {
        "under 100 frames": [0, 4],
        "100 to 200 frames": [1],
        "200 to 400 frames": [3],
        "3200 frames and more": [2],
    }


def test_every_trial_is_in_one_part(trials, tmp_path, rng):
    (tmp_path / "utt2dur").write_text("".join(f"u{i} {rng.uniform(0, 50):.3f}\n" for i in range(3)))
    assert sorted(at for chosen in parts(trials, tmp_path).values() for at in chosen) == list(range(5))


@pytest.mark.parametrize("value", ["long", "-1", "nan", "inf"])
def test_a_length_that_is_no_number_is_named(trials, tmp_path, value):
    (tmp_path / "utt2dur").write_text(f"u0 1\nu1 {value}\n")
    with pytest.raises(DataError, match=rf"utt2dur:2: .*'{value}'"):
        parts(trials, tmp_path)


def test_conditions_are_those_of_the_maps_that_are_there(tmp_path):
    assert known_conditions(Origin(tmp_path, None, None)) == []
    for name in ("utt2keyword", "spk2gender", "utt2dur"):
        (tmp_path / name).write_text("a b\n")
    assert known_conditions(Origin(tmp_path, None, None)) == ["keyword", DURATION], "genders need the speakers"
    (tmp_path / "utt2spk").write_text("a b\n")
    assert known_conditions(Origin.find(tmp_path / "trials", None, None)) == ["keyword", "gender", DURATION]
