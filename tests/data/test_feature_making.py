"""Features that go together: what is known of their making must agree, what is not known does not matter."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.data.feature_making import refuse_unlike
from sv_toolkit.errors import ModelError
from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.io.tables import write_table


@pytest.fixture
def make(tmp_path):
    def index(**made):
        write_ark_scp(tmp_path, "feats", {"a-1": np.zeros((3, 2), np.float32)})
        write_table(tmp_path / "utt2spk", {"a-1": "a"})
        for name, config in made.items():
            content = {"format": 1, "job": {"config": config}, "counts": {}, "files": {}}
            (tmp_path / f"{name}.manifest.json").write_text(json.dumps(content))
        return FeatureIndex(tmp_path, need_vad=False)

    return index


def needed(**made):
    return {name: {"config": config} for name, config in made.items()}


def test_the_same_options_and_unknown_ones_pass(make):
    made = needed(fbank={"low_freq": 20.0}, vad={"kind": "webrtc"})
    for known in ({}, {"fbank": {"low_freq": 20.0}}, {"vad": {"kind": "webrtc"}}):
        refuse_unlike(make(**known), 2, made, True, "the model")
    refuse_unlike(make(), 2, {}, True, "the model")


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"fbank": {"low_freq": 64.0}}, "fbank was made with other options than the model needs: low_freq 64.0 instead of 20.0"),
        ({"mfcc": {"low_freq": 20.0}}, "features are mfcc, the model needs fbank"),
        ({"vad": {"kind": "energy"}}, "vad was made with other options than the model needs: kind energy instead of webrtc"),
    ],
)
def test_what_was_made_in_another_way_is_refused(make, known, message):
    with pytest.raises(ModelError, match=message):
        refuse_unlike(make(**known), 2, needed(fbank={"low_freq": 20.0}, vad={"kind": "webrtc"}), True, "the model")


def test_other_decisions_do_not_matter_where_none_are_read(make):
    refuse_unlike(make(vad={"kind": "energy"}), 2, needed(vad={"kind": "webrtc"}), False, "the model")


def test_another_width_is_refused(make):
    with pytest.raises(ModelError, match="features have 2 columns, the model needs 3"):
        refuse_unlike(make(), 3, {}, True, "the model")
