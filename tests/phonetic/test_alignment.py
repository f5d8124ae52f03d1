"""Alignments and the labels that follow from them."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.errors import DataError
from sv_toolkit.phonetic.alignment import Classes, Segment, classes_of, read_alignments


def test_segments_are_read_with_and_without_confidence(tmp_path):
    (tmp_path / "phones.ctm").write_text("u1 1 0.00 0.10 AA\nu1 1 0.10 0.05 S 0.97\nu2 A 0 1 AA\n")
    assert read_alignments(tmp_path / "phones.ctm") == {
        "u1": [Segment(0, 0.1, "AA"), Segment(0.1, pytest.approx(0.15), "S")],
        "u2": [Segment(0, 1, "AA")],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty: no utterance is aligned"),
        ("u1 1 0 0.1 AA\nu1 1 0.1\n", r":2: expected 'utterance channel start duration phone', got 3 fields"),
        ("u1 1 zero 0.1 AA\n", ":1: the start must be a number"),
        ("u1 1 0 -0.1 AA\n", ":1: the duration must be a number of at least 0"),
        ("u1 1 0.0 0.1 AA\nu1 1 0.05 0.1 S\n", ":2: begins at 0.05 s, before the phone of the line above ends"),
    ],
)
def test_what_is_no_alignment_is_refused_with_its_line(tmp_path, text, message):
    (tmp_path / "phones.ctm").write_text(text)
    with pytest.raises(DataError, match=message):
        read_alignments(tmp_path / "phones.ctm")


def test_a_missing_file_says_what_it_is():
    with pytest.raises(DataError, match="missing: alignments are lines"):
        read_alignments(__import__("pathlib").Path("/nowhere/phones.ctm"))


def slow_labels(segments, classes, num_frames, shift, first_middle):
    names = classes.names
    result = []
    for frame in range(num_frames):
        label = names.index("SIL")
        for segment in segments:
            middle = first_middle + frame * shift
            if segment.start <= middle < segment.end:
                label = names.index("SIL")
                if segment.phone != "SIL":
                    part = 1 + int((middle - segment.start) / (segment.end - segment.start) * classes.parts)
                    label = names.index(f"{segment.phone}.{part}" if classes.parts > 1 else segment.phone)
        result.append(label)
    return result


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_labels_agree_with_the_slow_definition(parts):
    segments = [Segment(0.031, 0.12, "S"), Segment(0.12, 0.18, "SIL"), Segment(0.19, 0.33, "AA")]
    classes = classes_of({"u": segments}, parts, "SIL")
    assert classes.phones == ("SIL", "AA", "S")
    labels = classes.labels(segments, 40, 0.01, 0.0125)
    assert labels.tolist() == slow_labels(segments, classes, 40, 0.01, 0.0125)
    assert len(set(labels.tolist())) == len(classes.names) == 1 + 2 * parts


def test_parts_of_a_phone_are_of_that_phone():
    classes = Classes(("AA", "SIL", "S"), 2, "SIL")
    assert classes.names == ["AA.1", "AA.2", "SIL", "S.1", "S.2"]
    assert np.array(classes.phones)[classes.phone_of].tolist() == ["AA", "AA", "SIL", "S", "S"]


def test_a_phone_that_the_classifier_does_not_know_is_named():
    with pytest.raises(DataError, match="'OY' is unknown"):
        Classes(("SIL", "AA"), 1, "SIL").labels([Segment(0, 1, "OY")], 5, 0.01, 0)
