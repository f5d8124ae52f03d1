"""Training: the same bits from the same seed, held-out speakers kept out, work done once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from keyword_sounds import SMALL

from sv_toolkit.errors import DataError, OutputError
from sv_toolkit.extraction.pipeline import AudioOptions
from sv_toolkit.keyword.corpus import Material
from sv_toolkit.keyword.detector import load_detector
from sv_toolkit.keyword.training import KeywordData, TrainingOptions, train_keyword

QUICK = replace(SMALL, training=replace(SMALL.training, steps=5))


@pytest.fixture
def data(keyword_data):
    return KeywordData(keyword_data / "train", (keyword_data / "background",), (keyword_data / "noise",))


def weights(data, exp, **options):
    train_keyword(data, exp, QUICK, AudioOptions(), TrainingOptions(**options))
    return load_detector(exp).weights


def test_one_seed_gives_the_same_bits_and_another_gives_others(data, tmp_path):
    first, again, other = (weights(data, tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
    assert any((array != other[name]).any() for name, array in first.items())


def test_finished_work_is_not_done_again_and_other_work_is_not_replaced(data, tmp_path, caplog):
    weights(data, tmp_path / "exp")
    before = (tmp_path / "exp" / "keyword.json").stat().st_mtime_ns
    weights(data, tmp_path / "exp")
    assert (tmp_path / "exp" / "keyword.json").stat().st_mtime_ns == before
    with pytest.raises(OutputError, match="--overwrite"):
        weights(data, tmp_path / "exp", seed=4)
    weights(data, tmp_path / "exp", seed=4, overwrite=True)
    assert (tmp_path / "exp" / "keyword.json").stat().st_mtime_ns > before


def test_shared_speakers_and_unknown_words_are_refused(data, keyword_data, tmp_path):
    with pytest.raises(DataError, match="held out"):
        weights(replace(data, held_out=(keyword_data / "background",)), tmp_path / "exp")
    with pytest.raises(DataError, match="'?sideways'?"):
        weights(replace(data, words=("sideways",)), tmp_path / "exp")
    with pytest.raises(DataError, match="utt2keyword"):
        weights(replace(data, keywords=keyword_data / "background"), tmp_path / "exp")


def test_words_that_are_not_asked_for_are_filler(data, tmp_path):
    train_keyword(replace(data, words=("down",)), tmp_path / "exp", QUICK, AudioOptions(), TrainingOptions())
    detector = load_detector(tmp_path / "exp")
    assert detector.words == ("down",)
    assert detector.num_outputs == 3


def test_frames_are_gathered_with_the_neighbours_of_their_own_recording():
    rng = np.random.default_rng(0)
    recordings = [rng.standard_normal((length, 3)).astype(np.float32) for length in (5, 1, 8)]
    material = Material.of(recordings, 4, 2)
    windows = material.windows(np.arange(14), 4, 2)
    owners = [(number, frame) for number, features in enumerate(recordings) for frame in range(len(features))]
    for window, (number, frame) in zip(windows, owners):
        own = recordings[number]
        np.testing.assert_array_equal(window, [own[min(max(k, 0), len(own) - 1)] for k in range(frame - 4, frame + 3)])
    np.testing.assert_array_equal(material.level_of(np.array([0, 4, 5, 6, 13])), material.levels[[0, 0, 1, 2, 2]])
