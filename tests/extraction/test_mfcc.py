"""Cepstra of data directories: what tells them from filter banks, and what reads them."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.data.described import carried
from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.data.operations import subset
from sv_toolkit.data.output import as_texts, write_output
from sv_toolkit.errors import DataError, OutputError
from sv_toolkit.extraction.control import extract_control
from sv_toolkit.extraction.fbank import extract_fbank, extract_mfcc
from sv_toolkit.extraction.pipeline import AudioOptions, RunOptions
from sv_toolkit.extraction.vad import compute_vad
from sv_toolkit.features.fbank import FbankConfig
from sv_toolkit.features.mfcc import MfccConfig, mfcc
from sv_toolkit.features.vad import EnergyVadConfig, VadConfig
from sv_toolkit.io.archives import ScpReader
from sv_toolkit.io.audio import AudioRequest, read_waveform
from sv_toolkit.io.files import locked
from sv_toolkit.io.manifest import read_manifest

pytest.importorskip("soundfile")

ONE_JOB, ONE_CHANNEL = RunOptions(num_jobs=1), AudioOptions()
CEPSTRA = MfccConfig(num_ceps=20, num_mel_bins=30)


def test_the_output_holds_the_cepstra_of_every_recording(data, voices, tmp_path):
    assert extract_mfcc(data, tmp_path / "out", CEPSTRA, ONE_CHANNEL, ONE_JOB) == 12
    reader = ScpReader(tmp_path / "out" / "feats.scp")
    for utterance in voices:
        samples = read_waveform(AudioRequest(f"{data.parent}/audio/{utterance}.wav", "", utterance)).samples
        assert (reader.read(utterance) == mfcc(samples, CEPSTRA)).all()
    assert read_manifest(tmp_path / "out", "mfcc").job["config"]["num_ceps"] == 20


def test_bytes_do_not_depend_on_the_number_of_jobs(data, tmp_path, contents):
    dithered = MfccConfig(dither=1.0)
    extract_mfcc(data, tmp_path / "a", dithered, ONE_CHANNEL, ONE_JOB)
    extract_mfcc(data, tmp_path / "b", dithered, ONE_CHANNEL, RunOptions(num_jobs=3))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_one_kind_of_features_does_not_replace_the_other_unasked(data):
    extract_fbank(data, data, FbankConfig(), ONE_CHANNEL, ONE_JOB)
    with pytest.raises(OutputError, match="feats.scp: exists and is not of this run"):
        extract_mfcc(data, data, CEPSTRA, ONE_CHANNEL, ONE_JOB)
    extract_mfcc(data, data, CEPSTRA, ONE_CHANNEL, RunOptions(num_jobs=1, overwrite=True))
    index = FeatureIndex(data, need_vad=False)
    assert (index.dim, list(index.made_by())) == (20, ["mfcc"])


@pytest.mark.parametrize("source", ["waveform", "features"])
def test_voice_activity_is_the_same_beside_cepstra_and_beside_filter_banks(data, tmp_path, source):
    config = VadConfig(kind="energy", energy=EnergyVadConfig(source=source))
    energy = {"use_energy": True}
    extract_fbank(data, tmp_path / "fbank", FbankConfig(frame_shift=0.02, **energy), ONE_CHANNEL, ONE_JOB)
    extract_mfcc(data, tmp_path / "mfcc", MfccConfig(frame_shift=0.02, htk_compat=True, **energy), ONE_CHANNEL, ONE_JOB)
    for name in ("fbank", "mfcc"):
        compute_vad(tmp_path / name, tmp_path / name, config, ONE_CHANNEL, ONE_JOB)
    first, second = (ScpReader(tmp_path / name / "vad.scp") for name in ("fbank", "mfcc"))
    for utterance in first:
        assert (first.read(utterance) == second.read(utterance)).all()
        assert 0 < first.read(utterance).mean() < 1


def test_the_manifest_travels_with_the_features(data, tmp_path):
    extract_mfcc(data, data, CEPSTRA, ONE_CHANNEL, ONE_JOB)
    compute_vad(data, tmp_path / "out", VadConfig(kind="energy"), ONE_CHANNEL, ONE_JOB)
    assert {"mfcc", "vad"} == FeatureIndex(tmp_path / "out", need_vad=True).made_by().keys()


def test_the_control_refuses_cepstra(data, tmp_path):
    extract_mfcc(data, data, CEPSTRA, ONE_CHANNEL, ONE_JOB)
    with pytest.raises(DataError, match="needs log-mel energies, these are mfcc"):
        extract_control(data, tmp_path / "control", ONE_JOB)


def test_the_zeroth_coefficient_serves_as_energy_where_there_is_none(data, tmp_path):
    extract_mfcc(data, data, MfccConfig(use_energy=False), ONE_CHANNEL, ONE_JOB)
    config = VadConfig(kind="energy", energy=EnergyVadConfig(source="features", energy_threshold=0.0, energy_mean_scale=1.0))
    compute_vad(data, data, config, ONE_CHANNEL, ONE_JOB)
    features, vad = ScpReader(data / "feats.scp"), ScpReader(data / "vad.scp")
    for utterance in features:
        is_voiced = vad.read(utterance) == 1
        energy = features.read(utterance)[:, 0]
        assert np.median(energy[is_voiced]) > energy.mean() > np.median(energy[~is_voiced])


def test_the_word_on_features_stays_while_they_cannot_be_replaced_and_goes_with_them(data):
    extract_mfcc(data, data, CEPSTRA, ONE_CHANNEL, ONE_JOB)
    again = RunOptions(num_jobs=1, overwrite=True)
    with locked(data), pytest.raises(OutputError, match="in use"):
        extract_fbank(data, data, FbankConfig(), ONE_CHANNEL, again)
    assert list(FeatureIndex(data, need_vad=False).made_by()) == ["mfcc"]
    extract_fbank(data, data, FbankConfig(), ONE_CHANNEL, again)
    assert list(FeatureIndex(data, need_vad=False).made_by()) == ["fbank"]


def test_cepstra_from_elsewhere_that_are_set_aside_leave_no_word_behind(data, tmp_path):
    extract_mfcc(data, data, CEPSTRA, ONE_CHANNEL, ONE_JOB)
    source, part = DataDir.read(data), tmp_path / "part"
    tables = subset(source, source.utt2spk)
    write_output(part, {**as_texts(tables), **carried([source], tables, part)}, {"command": "x"}, {}, False)
    extract_fbank(part, part, FbankConfig(), ONE_CHANNEL, ONE_JOB)
    assert list(FeatureIndex(part, need_vad=False).made_by()) == ["fbank"]
