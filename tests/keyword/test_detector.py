"""A stream gives what the file gives; detectors survive their folder and refuse damage."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from keyword_sounds import RATE, clip, word_sound

from sv_toolkit.errors import ModelError
from sv_toolkit.features.fbank import fbank
from sv_toolkit.features.stacking import with_context
from sv_toolkit.keyword.confidence import confidences, peaks, smoothed
from sv_toolkit.keyword.detector import detect, follow, load_detector, placed
from sv_toolkit.keyword.posteriors import forward, stacked


@pytest.fixture(scope="module")
def detector(trained):
    return load_detector(trained)


@pytest.fixture(scope="module")
def conversation():
    """Twelve seconds with a word every two seconds, and where the words begin."""
    rng = np.random.default_rng(9)
    samples, places = rng.normal(0, 0.002, 12 * RATE), []
    for number, word in enumerate(["up", "flat", "down", "up", "flat", "down"]):
        sound, begin = word_sound(word, rng), (2 * number + 1) * RATE
        samples[begin : begin + len(sound)] += sound
        places.append((word, begin / RATE))
    return samples.astype(np.float32), places


def test_words_are_found_where_they_are(detector, conversation):
    samples, places = conversation
    found = [one for one in detect(detector, samples) if one.confidence > 0.6]
    said = [(word, begin) for word, begin in places if word != "flat"]
    assert [one.word for one in found] == [word for word, _ in said]
    for one, (_, begin) in zip(found, said):
        assert one.end - one.start == pytest.approx(0.8)
        assert one.start <= begin + 0.05
        assert one.end >= begin + 0.31


@pytest.mark.parametrize("size", [1, 37, 80, 2001, 10**6])
def test_a_stream_gives_the_bits_of_the_file_however_it_is_cut(detector, conversation, size):
    samples = conversation[0][: 5 * RATE if size == 1 else None]
    blocks = [samples[start : start + size] for start in range(0, len(samples), size)]
    assert list(follow(detector, blocks)) == detect(detector, samples)


@pytest.mark.parametrize("num_samples", [0, 10, 199, 200, 280, 1999, 2200, 2201, 4000, 8000])
def test_recordings_of_any_length_agree_with_the_definition(detector, num_samples):
    samples = clip("up", np.random.default_rng(num_samples))[0][:num_samples]
    config = detector.config.detector
    features = fbank(samples, detector.config.fbank)
    rows = stacked(with_context(features, config.left, config.right), config.left + 1 + config.right)
    confidence = confidences(smoothed(forward(rows, detector.weights), config.smoothing), config.states, config.window)
    expected = peaks(confidence, config.separation, config.floor)
    found = detect(detector, samples)
    assert [detector.words.index(one.word) for one in found] == [peak.word for peak in expected]
    np.testing.assert_allclose([one.confidence for one in found], [peak.confidence for peak in expected], atol=1e-4)
    assert all(0 <= one.start < one.end <= num_samples / RATE for one in found)


def test_long_recordings_agree_with_the_definition_too(detector, conversation):
    config = detector.config.detector
    features = fbank(conversation[0], detector.config.fbank)
    rows = stacked(with_context(features, config.left, config.right), config.left + 1 + config.right)
    confidence = confidences(smoothed(forward(rows, detector.weights), config.smoothing), config.states, config.window)
    expected = peaks(confidence, config.separation, config.floor)
    found = detect(detector, conversation[0])
    np.testing.assert_allclose([one.time for one in found], [peak.frame * 0.01 + 0.025 for peak in expected], atol=1e-9)
    np.testing.assert_allclose([one.confidence for one in found], [peak.confidence for peak in expected], atol=1e-4)


def test_segments_lie_within_the_recording():
    assert placed(0.1, 0.8, 3.0) == (0.0, 0.8)
    assert placed(2.9, 0.8, 3.0) == pytest.approx((2.2, 3.0))
    assert placed(1.0, 0.8, 3.0) == pytest.approx((0.6, 1.4))
    assert placed(0.3, 0.8, 0.5) == (0.0, 0.5)


def test_damage_is_refused(trained, tmp_path):
    for name, change in {
        "words": lambda content: {**content, "words": ["up"]},
        "twice": lambda content: {**content, "words": ["up", "up"]},
        "config": lambda content: {**content, "config": {**content["config"], "evil": 1}},
        "hidden": lambda content: {**content, "config": {**content["config"], "detector": {**content["config"]["detector"], "hidden": 7}}},
    }.items():
        folder = shutil.copytree(trained, tmp_path / name)
        path = folder / "keyword.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
        with pytest.raises(ModelError):
            load_detector(folder)
    with pytest.raises(ModelError, match="sv-train-keyword"):
        load_detector(tmp_path / "absent")
