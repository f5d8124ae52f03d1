"""Utterances without features: only the command that makes a table may say that it lacks one, and only while that is so."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.data.fixing import plan_fix
from sv_toolkit.data.skipped import left_out, read_skipped, write_skipped
from sv_toolkit.data.validation import Rules, validate
from sv_toolkit.errors import DataError
from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.io.tables import write_table

IDS = ["a-0", "a-1", "a-2", "b-0"]
RULES = Rules(need_wav=False)


@pytest.fixture
def make(tmp_path):
    def make_one(feats=IDS, vad=IDS):
        write_ark_scp(tmp_path, "feats", {key: np.ones((3, 2), np.float32) for key in feats})
        write_ark_scp(tmp_path, "vad", {key: np.ones(3, np.float32) for key in vad})
        write_table(tmp_path / "utt2spk", {key: key[0] for key in IDS})
        return tmp_path

    return make_one


def test_an_utterance_without_speech_keeps_its_features_where_no_decisions_are_needed(make):
    path = make(vad=IDS[1:])
    write_skipped(path, "sv-compute-vad", {IDS[0]: "no speech"})
    assert FeatureIndex(path, need_vad=False).utterances == IDS
    assert FeatureIndex(path, need_vad=True).utterances == IDS[1:]
    assert validate(path, rules=RULES) == []


def test_an_utterance_without_features_needs_no_decisions(make):
    path = make(feats=IDS[1:], vad=IDS[1:])
    write_skipped(path, "sv-extract-mfcc", {IDS[0]: "truncated"})
    for need_vad in (False, True):
        assert FeatureIndex(path, need_vad).utterances == IDS[1:]
    assert validate(path, rules=RULES) == []


@pytest.mark.parametrize("command", ["sv-extract-fbank", "sv-extract-mfcc", "sv-compute-vad", "sv-extract-dvector"])
def test_a_line_about_an_utterance_that_the_tables_hold_is_out_of_date(make, command):
    path = make()
    write_skipped(path, command, {IDS[0]: "truncated"})
    assert FeatureIndex(path, need_vad=True).utterances == IDS


@pytest.mark.parametrize("command", ["sv-compute-vad", "sv-extract-dvector", "sv-extract-control"])
def test_lines_of_other_commands_excuse_no_missing_features(make, command):
    path = make(feats=IDS[1:])
    write_skipped(path, command, {IDS[0]: "no speech"})
    with pytest.raises(DataError, match="feats.scp: 1 of 4 utterances of utt2spk are missing: .*a-0"):
        FeatureIndex(path, need_vad=False)
    assert "1 of the 4 ids" in str(validate(path, rules=RULES)[0])


def test_features_that_came_back_need_decisions_again(make):
    path = make(vad=IDS[1:])
    write_skipped(path, "sv-extract-fbank", {IDS[0]: "truncated"})
    with pytest.raises(DataError, match="vad.scp: 1 of 4 utterances"):
        FeatureIndex(path, need_vad=True)
    assert "vad.scp" in str(validate(path, rules=RULES)[0])
    write_table(path / "wav.scp", {key: f"{key}.wav" for key in IDS})
    assert [drop.key for drop in plan_fix(path).drops] == [IDS[0]]


def test_commands_that_write_the_same_table_replace_each_others_lines(tmp_path):
    write_skipped(tmp_path, "sv-extract-mfcc", {"u1": "truncated"})
    write_skipped(tmp_path, "sv-compute-vad", {"u2": "no speech"})
    write_skipped(tmp_path, "sv-extract-fbank", {"u3": "short"})
    assert read_skipped(tmp_path) == [("u2", "sv-compute-vad", "no speech"), ("u3", "sv-extract-fbank", "short")]


def test_what_a_table_may_lack_is_what_its_makers_left_out():
    lines = [("u1", "sv-extract-fbank", ""), ("u2", "sv-compute-vad", ""), ("u3", "sv-train", ""), ("u4", "sv-extract-mfcc", "")]
    assert left_out(lines, "feats.scp") == left_out(lines, "utt2num_frames") == {"u1", "u4"}
    assert left_out(lines, "vad.scp") == {"u1", "u2", "u4"}
    assert left_out(lines, "vad.scp", with_features={"u4", "u2"}) == {"u1", "u2"}
