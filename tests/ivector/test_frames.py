"""From stored features to frames, and reading them in shards."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.errors import DataError
from sv_toolkit.features.cmvn import sliding_cmvn, utterance_cmvn
from sv_toolkit.features.deltas import add_deltas
from sv_toolkit.io.archives import ScpReader, write_ark_scp
from sv_toolkit.ivector import frames as frames_module
from sv_toolkit.ivector.config import FrameConfig
from sv_toolkit.ivector.frames import opened, over_shards, speech_frames, survey


@pytest.fixture(autouse=True)
def fresh():
    opened.cache_clear()


def test_the_chain_is_kaldis_deltas_then_sliding_normalisation_then_the_voiced_frames(rng):
    features, is_voiced = rng.standard_normal((400, 3)).astype(np.float32), rng.random(400) < 0.7
    expected = sliding_cmvn(add_deltas(features), window=300)[is_voiced]
    assert (speech_frames(features, is_voiced, FrameConfig()) == expected).all()


def test_utterance_normalisation_is_measured_on_the_voiced_frames(rng):
    features, is_voiced = rng.standard_normal((50, 3)).astype(np.float32), rng.random(50) < 0.7
    made = speech_frames(features, is_voiced, FrameConfig(delta_order=1, cmvn="utterance", cmvn_variance=True))
    assert (made == utterance_cmvn(add_deltas(features, 1)[is_voiced], variance=True)).all()


def test_level_normalisation_takes_out_a_gain_and_nothing_else(rng):
    features = rng.standard_normal((50, 3)).astype(np.float32)
    config = FrameConfig(delta_order=0, cmvn="level")
    louder = features + np.float32([5, 0, 0])
    assert speech_frames(louder, None, config) == pytest.approx(speech_frames(features, None, config), abs=1e-5)
    assert (speech_frames(features, None, config)[:, 1:] == features[:, 1:]).all()


@pytest.mark.parametrize("config", [FrameConfig(cmvn=kind) for kind in ("none", "level", "utterance", "sliding")])
def test_no_voiced_frames_give_no_frames(rng, config):
    assert speech_frames(rng.standard_normal((20, 3)), np.zeros(20, bool), config).shape == (0, 9)


def test_blocks_hold_every_frame_once_and_in_order(data, monkeypatch):
    monkeypatch.setattr(frames_module, "BLOCK", 150)
    frames = opened(data, FrameConfig(delta_order=0), None)
    blocks = list(frames.blocks(frames.index.utterances))
    assert len(blocks) > 3
    assert [utterance for block in blocks for utterance in block.utterances] == frames.index.utterances
    for block in blocks:
        for utterance, start in zip(block.utterances, block.starts):
            own = frames.read(utterance)[0]
            assert (block.frames[start : start + len(own)] == own).all()


def test_a_survey_counts_frames_and_names_what_cannot_be_used(data):
    features, vad = ({key: reader.read(key) for key in reader} for reader in (ScpReader(data / "feats.scp"), ScpReader(data / "vad.scp")))
    features["s00-u1"][3, 1] = np.nan
    vad["s01-u2"][:] = 0
    write_ark_scp(data, "feats", features)
    write_ark_scp(data, "vad", vad)
    lengths, reasons = survey(opened(data, FrameConfig(), None), num_jobs=2)
    assert set(reasons) == {"s00-u1", "s01-u2"}
    assert "not finite" in reasons["s00-u1"]
    assert reasons["s01-u2"] == "too short: 0 frames of speech, at least 10 are needed"
    assert lengths["s02-u0"] == vad["s02-u0"].sum()
    assert len(lengths) == 28


def test_results_come_in_the_order_of_the_shards_for_any_number_of_jobs():
    shards = [[str(i)] for i in range(20)]
    assert over_shards(tuple, shards, 3) == over_shards(tuple, shards, 1) == [(str(i),) for i in range(20)]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda given: given.pop("s00-u0"), "no posteriors in"),
        (lambda given: given.update({"s00-u0": given["s00-u0"][1:]}), "posteriors of .* frames, the features have"),
        (lambda given: given["s00-u0"].__imul__(-1), "posteriors must not be negative"),
        (lambda given: given["s00-u0"].__imul__(2), "posteriors must .* add up to 1 at most, found .* and 2"),
        (lambda given: given["s00-u0"].fill(np.nan), "posteriors must not be negative"),
    ],
)
def test_posteriors_that_do_not_fit_are_named(data, tmp_path, change, message):
    features = ScpReader(data / "feats.scp")
    given = {key: np.full((features.shape(key)[0], 4), 0.25, np.float32) for key in features}
    change(given)
    scp = write_ark_scp(tmp_path, "post", given)
    frames = opened(data, FrameConfig(), scp)
    with pytest.raises(DataError, match=f"s00-u0: {message}"):
        frames.read("s00-u0")
    values, posteriors = frames.read("s00-u1")
    assert len(values) == len(posteriors) < features.shape("s00-u1")[0]
