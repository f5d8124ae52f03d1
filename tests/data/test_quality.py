"""Lengths of both sides of trials as quality measures."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.data.quality import log_lengths, read_lengths
from sv_toolkit.data.trials import make
from sv_toolkit.errors import DataError


@pytest.fixture
def trials(tmp_path):
    return make([("m1", "c"), ("a", "b"), ("m1", "b")], None, tmp_path / "trials")


def lengths(tmp_path, text="a 2\nb 0.5\nc 8\n"):
    path = tmp_path / "utt2dur"
    path.write_text(text)
    return read_lengths(path)


def test_a_model_is_as_long_as_its_utterances_together(trials, tmp_path):
    found = log_lengths(trials, lengths(tmp_path), "log_duration", {"m1": ["a", "c"]})
    np.testing.assert_allclose(np.exp(found["log_duration_enroll"]), [10, 2, 10])
    np.testing.assert_allclose(np.exp(found["log_duration_test"]), [8, 0.5, 0.5])


def test_utterances_without_length_are_refused_and_counted(trials, tmp_path):
    with pytest.raises(DataError, match=r"utt2dur: does not say the length of m1 \(1 in all\)"):
        log_lengths(trials, lengths(tmp_path), "log_duration")


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1_0", "long"])
def test_lengths_that_are_no_positive_number_are_refused_by_line(trials, tmp_path, value):
    with pytest.raises(DataError, match="utt2dur:2: the length of b must be a positive number"):
        log_lengths(trials, lengths(tmp_path, f"a 2\nb {value}\nc 8\n"), "log_duration", {"m1": ["a"]})
