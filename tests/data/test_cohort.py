"""A cohort has speakers, and shares none of them with the trials."""

from __future__ import annotations

import pytest

from sv_toolkit.data.cohort import cohort_speakers, shared_with_trials
from sv_toolkit.data.trials import make
from sv_toolkit.errors import DataError
from sv_toolkit.io.tables import Table


@pytest.fixture
def trials(tmp_path):
    return make([("m1", "c"), ("m2", "d")], None, tmp_path / "trials")


def test_speakers_have_their_utterances_in_order_of_their_names(tmp_path):
    table = Table(tmp_path / "utt2spk", {"a": "s2", "b": "s1", "c": "s2", "other": "s3"})
    assert list(cohort_speakers(table, ["a", "b", "c"]).items()) == [("s1", ["b"]), ("s2", ["a", "c"])]
    with pytest.raises(DataError, match=r"utt2spk: does not say the speaker of x \(1 of the cohort\)"):
        cohort_speakers(table, ["a", "x"])


def test_utterances_on_both_sides_are_found_also_within_models(trials, tmp_path):
    found = shared_with_trials(trials, {"m1": ["a", "b"], "m2": ["e"]}, tmp_path / "cohort.scp", ["b", "d", "x"])
    assert [problem.what for problem in found] == ["2 of 3 utterances of the cohort are in the trials, too: b, d"]
    assert shared_with_trials(trials, {"m1": ["a", "b"]}, tmp_path / "cohort.scp", ["x", "m3"]) == []


def test_speakers_are_compared_where_both_sides_are_known(trials, tmp_path):
    cohort, speakers = {"x": "s1", "y": "s9"}, {"c": "s1", "m1": "s2"}
    found = shared_with_trials(trials, None, tmp_path / "cohort.scp", list(cohort), cohort, speakers)
    assert [problem.what for problem in found] == ["1 of 2 speakers of the cohort are in the trials, too: s1"]
    assert shared_with_trials(trials, None, tmp_path / "cohort.scp", list(cohort), cohort, None) == []
    assert shared_with_trials(trials, None, tmp_path / "cohort.scp", ["y"], cohort, speakers) == []
