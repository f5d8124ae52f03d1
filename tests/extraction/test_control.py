"""The untrained session control: little voice, much background, nothing learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sv_toolkit.data.data_dir import read_skipped
from sv_toolkit.errors import DataError, OutputError, TooManyBadError
from sv_toolkit.extraction.control import extract_control, quietest_mean
from sv_toolkit.extraction.fbank import extract_fbank
from sv_toolkit.extraction.pipeline import AudioOptions, RunOptions
from sv_toolkit.features.fbank import FbankConfig
from sv_toolkit.io.archives import read_vectors, write_ark_scp
from sv_toolkit.io.tables import read_table, write_table

OPTIONS = RunOptions(num_jobs=1)


def slow_quietest_mean(features):
    """By sorting frames on the sum of their energies."""
    frames = sorted(features.astype(np.float64).tolist(), key=lambda frame: sum(np.exp(frame)))
    return np.mean(frames[: max(1, len(frames) // 10)], axis=0)


@pytest.fixture
def stored(tmp_path, rng):
    """A directory with features alone."""
    folder = tmp_path / "stored"
    folder.mkdir()
    features = {f"s{i % 3}-u{i}": rng.normal(8, 3, (20 + 7 * i, 5)).astype(np.float32) for i in range(10)}
    write_ark_scp(folder, "feats", features)
    write_table(folder / "utt2spk", {key: key[:2] for key in features})
    return folder, features


@pytest.mark.parametrize("num_frames", [1, 5, 10, 19, 20, 199])
def test_the_quietest_tenth_agrees_with_the_loop(rng, num_frames):
    features = rng.normal(8, 3, (num_frames, 6)).astype(np.float32)
    assert quietest_mean(features) == pytest.approx(slow_quietest_mean(features), abs=1e-5)


def test_no_frames_have_no_quietest():
    with pytest.raises(ValueError, match="no quietest frame"):
        quietest_mean(np.zeros((0, 4), np.float32))


def test_vectors_are_the_quiet_spectra_without_level_and_common_mean(stored, tmp_path):
    data, features = stored
    out = tmp_path / "out"
    assert extract_control(data, out, OPTIONS) == 10
    ids, vectors = read_vectors(out / "dvector.scp")
    expected = np.array([slow_quietest_mean(features[key]) for key in ids])
    expected -= expected.mean(axis=1, keepdims=True)
    assert vectors == pytest.approx(expected - expected.mean(axis=0), abs=1e-5)
    assert read_table(out / "utt2spk") == read_table(data / "utt2spk")


def test_the_gain_of_a_recording_does_not_matter(stored, tmp_path):
    data, features = stored
    extract_control(data, tmp_path / "before", OPTIONS)
    write_ark_scp(data, "feats", {key: value + np.float32(len(value) / 50) for key, value in features.items()})
    extract_control(data, tmp_path / "after", OPTIONS)
    before, after = (read_vectors(tmp_path / name / "dvector.scp")[1] for name in ("before", "after"))
    assert after == pytest.approx(before, abs=1e-5)


def test_finished_work_is_not_done_again_and_foreign_vectors_stay(stored, tmp_path, contents):
    data, _ = stored
    out = tmp_path / "out"
    extract_control(data, out, OPTIONS)
    before = contents(out)
    extract_control(data, out, OPTIONS)
    assert contents(out) == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "dvector.scp").write_text("x y.ark:3\n")
    with pytest.raises(OutputError, match="dvector.scp: exists and is not of this run"):
        extract_control(data, other, OPTIONS)


def test_in_the_data_directory_itself_the_tables_stay(stored, contents):
    data, _ = stored
    before = contents(data)
    extract_control(data, data, OPTIONS)
    after = contents(data)
    assert {name: after[name] for name in before} == before


def test_damaged_features_are_skipped_only_when_allowed(stored, tmp_path, rng):
    data, features = stored
    features["s0-u0"] = np.full((20, 5), np.nan, np.float32)
    write_ark_scp(data, "feats", features)
    with pytest.raises(TooManyBadError, match="s0-u0: .*not finite"):
        extract_control(data, tmp_path / "out", OPTIONS)
    assert extract_control(data, tmp_path / "out", RunOptions(num_jobs=1, max_bad=1)) == 9
    assert read_skipped(tmp_path / "out")[0][0] == "s0-u0"
    assert np.isfinite(read_vectors(tmp_path / "out" / "dvector.scp")[1]).all()


def test_without_features_the_command_that_makes_them_is_named(tmp_path):
    write_table(tmp_path / "utt2spk", {"a": "a"})
    with pytest.raises(DataError, match="sv-extract-fbank"):
        extract_control(tmp_path, tmp_path / "out", OPTIONS)


def test_features_made_anew_with_the_same_shapes_are_other_work(data, tmp_path):
    audio, out = AudioOptions(), tmp_path / "out"
    extract_fbank(data, data, FbankConfig(), audio, OPTIONS)
    extract_control(data, out, OPTIONS)
    index = (data / "feats.scp").read_bytes()
    extract_fbank(data, data, FbankConfig(low_freq=1000.0), audio, replace(OPTIONS, overwrite=True))
    assert (data / "feats.scp").read_bytes() == index
    with pytest.raises(OutputError, match="not of this run; give --overwrite"):
        extract_control(data, out, OPTIONS)
