"""Voice activity of data directories: framed like the features, in Kaldi's form."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from sv_toolkit.data.data_dir import DataDir, read_skipped
from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.errors import DataError, OutputError, SvError, TooManyBadError
from sv_toolkit.extraction.fbank import extract_fbank, extract_mfcc
from sv_toolkit.extraction.pipeline import AudioOptions, RunOptions
from sv_toolkit.extraction.vad import compute_vad
from sv_toolkit.features.fbank import FbankConfig
from sv_toolkit.features.mfcc import MfccConfig
from sv_toolkit.features.vad import EnergyVadConfig, VadConfig, voice_activity
from sv_toolkit.io.archives import ScpReader
from sv_toolkit.io.audio import AudioRequest, read_waveform
from sv_toolkit.io.manifest import read_manifest
from sv_toolkit.io.tables import write_table

soundfile = pytest.importorskip("soundfile")

ENERGY, DEFAULT = VadConfig(kind="energy"), FbankConfig()
ONE_JOB, ONE_BAD = RunOptions(num_jobs=1), RunOptions(num_jobs=1, max_bad=1)


def features(data, out=None, config=DEFAULT, options=ONE_JOB):
    return extract_fbank(data, out or data, config, AudioOptions(), options)


def vad(data, out=None, config=ENERGY, options=ONE_JOB, fbank_config=None):
    return compute_vad(data, out or data, config, AudioOptions(), options, fbank_config)


def silence(data, utterance):
    soundfile.write(data.parent / "audio" / f"{utterance}.wav", np.zeros(32000), 16000, subtype="PCM_16")


@pytest.mark.parametrize("kind", ["energy", "webrtc"])
def test_decisions_are_vectors_of_zeros_and_ones_that_fit_the_features(data, kind):
    if kind == "webrtc":
        pytest.importorskip("webrtcvad", exc_type=ImportError)
    features(data, config=FbankConfig(frame_shift=0.0125))
    assert vad(data, config=VadConfig(kind=kind)) == 12
    index = FeatureIndex(data, need_vad=True)
    for utterance in index.utterances:
        stored, is_voiced = index.read(utterance)
        assert len(is_voiced) == len(stored)
        assert 90 < is_voiced.sum() < 170  # a second and a half at 80 frames a second, and some hangover


def test_decisions_agree_with_the_function(data, tmp_path):
    out = tmp_path / "out"
    vad(data, out, fbank_config=FbankConfig(frame_length=0.02))
    source, reader = DataDir.read(data), ScpReader(out / "vad.scp")
    for utterance in source.utt2spk:
        samples = read_waveform(AudioRequest(source.wav[utterance], "", utterance)).samples
        expected = voice_activity(samples, FbankConfig(frame_length=0.02), ENERGY)
        assert reader.read(utterance).dtype == np.float32
        assert (reader.read(utterance) == expected).all()


def test_features_alone_are_enough_for_the_energy(data, tmp_path):
    features(data)
    (data / "wav.scp").unlink()
    config = VadConfig(kind="energy", energy=EnergyVadConfig(source="features", energy_threshold=8.0))
    assert vad(data, config=config) == 12
    assert 100 < ScpReader(data / "vad.scp").read("s0-u0").sum() < 200


def test_bytes_do_not_depend_on_the_number_of_jobs(data, tmp_path, contents):
    vad(data, tmp_path / "a")
    vad(data, tmp_path / "b", options=RunOptions(num_jobs=3))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_finished_work_is_not_done_again_and_other_options_are_refused(data, tmp_path, contents):
    out = tmp_path / "out"
    vad(data, out)
    before = contents(out)
    vad(data, out)
    assert contents(out) == before
    with pytest.raises(OutputError, match="vad.scp: exists and is not of this run"):
        vad(data, out, config=VadConfig(kind="energy", keep="span"))


def test_another_directory_gets_the_features_and_the_word_about_them(data, tmp_path):
    silence(data, "s1-u1")
    features(data)
    out = tmp_path / "out"
    assert vad(data, out, options=ONE_BAD) == 11
    index = FeatureIndex(out, need_vad=True)
    assert len(index.utterances) == 11
    assert index.made_by()["fbank"]["config"] == read_manifest(data, "fbank").job["config"]
    assert index.made_by()["vad"]["config"]["kind"] == "energy"
    assert set(DataDir.read(out).wav) == set(index.utterances)


def test_silence_is_skipped_with_a_reason_and_nothing_is_lost(data, tmp_path, caplog):
    silence(data, "s1-u1")
    features(data)
    with pytest.raises(TooManyBadError, match=r"1 of 12 .*s1-u1: no speech found in 198 frames"):
        vad(data)
    assert vad(data, options=ONE_BAD) == 11
    assert "1 of 12 utterances skipped" in caplog.text
    assert [line[:2] for line in read_skipped(data)] == [("s1-u1", "sv-compute-vad")]
    assert len(FeatureIndex(data, need_vad=True).utterances) == 11


def test_what_the_features_lost_before_stays_accounted_for(data, tmp_path):
    soundfile.write(data.parent / "audio" / "s0-u3.wav", np.zeros(10), 16000)
    silence(data, "s1-u1")
    features(data, options=ONE_BAD)
    out = tmp_path / "out"
    assert vad(data, out, options=ONE_BAD) == 10
    assert [line[:2] for line in read_skipped(out)] == [("s0-u3", "sv-extract-fbank"), ("s1-u1", "sv-compute-vad")]
    assert vad(data, options=ONE_BAD) == 10
    assert [line[:2] for line in read_skipped(data)] == [("s0-u3", "sv-extract-fbank"), ("s1-u1", "sv-compute-vad")]


def test_no_speech_anywhere_is_an_error(data):
    for utterance in DataDir.read(data).utt2spk:
        silence(data, utterance)
    with pytest.raises(TooManyBadError, match="12 of 12 .*nothing is left.*no speech"):
        vad(data, options=RunOptions(num_jobs=1, max_bad=100))
    assert not (data / "vad.scp").exists()


def test_features_that_were_framed_otherwise_are_refused(data):
    features(data)
    with pytest.raises(DataError, match="made with frame_shift 0.01, asked for is 0.02"):
        vad(data, fbank_config=FbankConfig(frame_shift=0.02))
    (data / "fbank.manifest.json").unlink()  # as if another program had made them
    with pytest.raises(DataError, match=r"s0-u0: .* frames, the recording gives"):
        vad(data, fbank_config=FbankConfig(frame_shift=0.02))


def test_features_that_are_missing_without_a_word_are_refused(data):
    features(data)
    lines = (data / "feats.scp").read_text().splitlines(keepends=True)
    (data / "feats.scp").write_text("".join(lines[:-1]))
    with pytest.raises(DataError, match="1 of 12 utterances are missing: s2-u3"):
        vad(data)


def test_new_features_call_for_new_decisions(data):
    features(data)
    vad(data)
    features(data, config=FbankConfig(frame_shift=0.02), options=RunOptions(num_jobs=1, overwrite=True))
    with pytest.raises(OutputError, match="--overwrite"):
        vad(data)
    vad(data, options=RunOptions(num_jobs=1, overwrite=True))
    FeatureIndex(data, need_vad=True).read("s0-u0")


def test_a_missing_webrtcvad_stops_before_any_work(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "webrtcvad", None)
    with pytest.raises(SvError, match="webrtcvad-wheels"):
        vad(data, tmp_path / "out", config=VadConfig())
    assert not (tmp_path / "out").exists()


def test_recordings_with_samples_beyond_the_range_are_warned_of(data, tmp_path, rng, caplog):
    loud = 3 * np.sin(np.arange(32000) / 20)
    soundfile.write(data.parent / "audio" / "s0-u0.wav", loud, 16000, subtype="FLOAT")
    vad(data, tmp_path / "out")
    assert "the worst is s0-u0 with a peak of 3.00" in caplog.text


def test_segments_are_the_utterances(data, tmp_path, rng, voice):
    file = data.parent / "audio" / "long.wav"
    soundfile.write(file, voice(rng, 4.0), 16000)
    write_table(data / "wav.scp", {"rec": str(file)})
    write_table(data / "utt2spk", {"a-1": "a", "a-2": "a"})
    write_table(data / "segments", {"a-1": "rec 0.5 2.0", "a-2": "rec 2.0 3.5"})
    vad(data)
    assert ScpReader(data / "vad.scp").shape("a-1") == (148,)


def test_decisions_about_features_made_anew_are_other_work(data, tmp_path):
    from_features = VadConfig(kind="energy", energy=EnergyVadConfig(source="features"))
    other, again = FbankConfig(low_freq=1000.0), RunOptions(num_jobs=1, overwrite=True)
    features(data)
    vad(data, config=from_features)
    index = (data / "feats.scp").read_bytes()
    features(data, config=other, options=again)
    assert (data / "feats.scp").read_bytes() == index
    with pytest.raises(OutputError, match="not of this run; give --overwrite"):
        vad(data, config=from_features)
    with pytest.raises(DataError, match="vad.scp: .*other features than those .*; run sv-compute-vad .* --overwrite"):
        FeatureIndex(data, need_vad=True)
    vad(data, options=again)
    FeatureIndex(data, need_vad=True)
    features(data, options=again)
    with pytest.raises(OutputError, match="not of this run; give --overwrite"):
        vad(data)
    vad(data, options=again)
    features(data, config=other, options=again)
    features(data, options=again)
    assert vad(data) == 12  # the same features again


def test_copied_features_that_were_made_anew_are_other_work(data, tmp_path):
    features(data)
    vad(data, tmp_path / "out")
    features(data, config=FbankConfig(low_freq=1000.0), options=RunOptions(num_jobs=1, overwrite=True))
    with pytest.raises(OutputError, match="--overwrite"):
        vad(data, tmp_path / "out")


def test_an_utterance_that_was_repaired_takes_part_again_whatever_made_the_features_before(data, voices):
    soundfile.write(data.parent / "audio" / "s0-u0.wav", np.zeros(10), 16000)
    extract_mfcc(data, data, MfccConfig(), AudioOptions(), ONE_BAD)
    soundfile.write(data.parent / "audio" / "s0-u0.wav", voices["s0-u0"], 16000)
    features(data, options=RunOptions(num_jobs=1, overwrite=True))
    assert read_skipped(data) == []
    assert vad(data) == 12
    assert len(FeatureIndex(data, need_vad=True).utterances) == 12


def test_features_whose_manifest_does_not_say_how_they_were_made_are_refused(data):
    features(data)
    (data / "fbank.manifest.json").write_text('{"format": 1, "job": {}, "counts": {}, "files": {}}')
    with pytest.raises(DataError, match="fbank.manifest.json: does not say with which options"):
        vad(data)
