"""Training, its folder, and extraction."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from sv_toolkit.errors import ConfigError, DataError, ModelError, OutputError
from sv_toolkit.extraction.pipeline import RunOptions
from sv_toolkit.io.archives import ScpReader, write_ark_scp
from sv_toolkit.ivector.config import FrameConfig, IvectorConfig, TotalVariabilityConfig, UbmConfig
from sv_toolkit.ivector.train import Options as IvectorOptions
from sv_toolkit.ivector.train import train_ivector
from sv_toolkit.phonetic.config import PhoneConfig, read_phone_config
from sv_toolkit.phonetic.extract import extract_posteriors, largest
from sv_toolkit.phonetic.network import PhoneNetwork, normalized
from sv_toolkit.phonetic.store import load_classifier, read_description
from sv_toolkit.phonetic.train import Options, _batches, _num_steps, train_phones


@pytest.fixture
def model(small, data, tmp_path):
    train_phones(small, Options(data, tmp_path / "model"))
    return tmp_path / "model"


def test_it_learns_which_sound_a_frame_of_other_utterances_has(small, data, make_data, tmp_path):
    accuracy = train_phones(small, Options(data, tmp_path / "model", valid=make_data(tmp_path / "valid", 1)))
    assert accuracy > 0.9
    assert read_description(tmp_path / "model")[0].provenance["valid_accuracy"] == accuracy


def test_the_same_seed_gives_the_same_bytes(small, data, model, tmp_path):
    train_phones(small, Options(data, tmp_path / "again"))
    assert (tmp_path / "again/phones.safetensors").read_bytes() == (model / "phones.safetensors").read_bytes()


def test_finished_work_is_not_done_again_and_other_work_is_refused(small, data, model):
    before = (model / "phones.safetensors").stat().st_mtime_ns
    assert np.isnan(train_phones(small, Options(data, model)))
    assert (model / "phones.safetensors").stat().st_mtime_ns == before
    with pytest.raises(OutputError, match="other data or options"):
        train_phones(PhoneConfig(epochs=1), Options(data, model))


def test_a_pass_sees_every_frame_once_and_the_schedule_is_long_enough(small, rng):
    aligned = [(np.full((n, 4), n, np.float32), np.full(n, n)) for n in (5, 40, 17, 33)]
    batches = list(_batches(aligned, small, rng))
    assert sorted(np.concatenate([labels.numpy() for _, labels in batches]).tolist()) == sorted(
        n for n in (5, 40, 17, 33) for _ in range(n)
    )
    assert all((frames[:, 0] == labels).all() for frames, labels in batches)
    assert small.epochs * len(batches) <= _num_steps(aligned, small)


def test_gain_channel_and_the_share_of_silence_do_not_matter(rng):
    speech, silence = rng.uniform(5, 9, (40, 4)), rng.uniform(-2, 0, (10, 4))
    one = normalized(np.concatenate([silence, speech]))
    moved = normalized(np.concatenate([silence, speech, silence]) + np.array([3.0, -1, 0, 2]))
    assert moved[:50] == pytest.approx(one, abs=1e-5)


def test_posteriors_are_those_of_the_network_and_train_i_vectors(data, model, tmp_path):
    assert extract_posteriors(model, data, tmp_path / "out", RunOptions(num_jobs=1)) == 12
    reader, features = ScpReader(tmp_path / "out/posteriors.scp"), ScpReader(data / "feats.scp")
    network, description = load_classifier(model)
    for key in reader:
        found = reader.read(key)
        stacked = normalized(features.read(key))[np.clip(np.arange(60)[:, None] + np.arange(-2, 3), 0, 59)].reshape(60, -1)
        expected = torch.softmax(network(torch.from_numpy(stacked)), 1).detach().numpy()
        assert found == pytest.approx(expected, abs=1e-6)
    config = IvectorConfig(
        FrameConfig(delta_order=0, cmvn="none", use_vad=False), UbmConfig(num_components=3), TotalVariabilityConfig(2, num_iterations=1)
    )
    assert len(description.classes.names) == 3
    assert train_ivector(config, IvectorOptions(data, tmp_path / "ivector", tmp_path / "out/posteriors.scp", num_jobs=1))


def test_the_number_of_jobs_does_not_change_the_posteriors(data, model, tmp_path):
    for num_jobs in (1, 2):
        extract_posteriors(model, data, tmp_path / str(num_jobs), RunOptions(num_jobs=num_jobs), 2)
    one, two = (ScpReader(tmp_path / name / "posteriors.scp") for name in "12")
    assert all((one.read(key) == two.read(key)).all() for key in one)


def test_the_largest_posteriors_add_up_to_one(rng):
    posteriors = rng.dirichlet(np.ones(6), size=20)
    kept = largest(posteriors, 2)
    assert kept.sum(axis=1) == pytest.approx(np.ones(20))
    assert ((kept > 0).sum(axis=1) == 2).all()
    assert (np.sort(kept.argsort(axis=1)[:, -2:]) == np.sort(posteriors.argsort(axis=1)[:, -2:])).all()
    assert (largest(posteriors, 6) == posteriors).all()


def test_an_utterance_without_alignment_and_an_unknown_phone_are_named(small, data, make_data, tmp_path):
    lines = (data / "phones.ctm").read_text().splitlines(keepends=True)
    (data / "phones.ctm").write_text("".join(line for line in lines if not line.startswith("s0-u00")))
    with pytest.raises(DataError, match="1 utterances are not aligned: 's0-u00'|1 utterances are not aligned: s0-u00"):
        train_phones(small, Options(data, tmp_path / "model"))
    (data / "phones.ctm").write_text("".join(lines))
    valid = make_data(tmp_path / "valid", 1)
    (valid / "phones.ctm").write_text((valid / "phones.ctm").read_text().replace("AA", "OY"))
    with pytest.raises(DataError, match="phone 'OY' is unknown"):
        train_phones(small, Options(data, tmp_path / "model", valid=valid))
    assert not (tmp_path / "model/phones.json").exists()


def test_other_features_are_refused(data, model, tmp_path):
    reader = ScpReader(data / "feats.scp")
    write_ark_scp(data, "feats", {key: reader.read(key)[:, :3] for key in reader})
    with pytest.raises(ModelError, match="3 columns, the classifier .* needs 4"):
        extract_posteriors(model, data, tmp_path / "out", RunOptions(num_jobs=1))


def test_damaged_weights_and_descriptions_are_refused(model):
    content = (model / "phones.safetensors").read_bytes()
    (model / "phones.safetensors").write_bytes(content[:-4] + b"\0\0\xc0\x7f")
    with pytest.raises(ModelError, match="checksum"):
        load_classifier(model)
    (model / "phones.safetensors").write_bytes(content)
    description = json.loads((model / "phones.json").read_text())
    (model / "phones.json").write_text(json.dumps({**description, "phones": [*description["phones"], "ZH"]}))
    with pytest.raises(ModelError, match="weights do not fit"):
        load_classifier(model)
    (model / "phones.json").write_text(json.dumps({**description, "phones": ["AA", "S"]}))
    with pytest.raises(ModelError, match="have SIL among them"):
        load_classifier(model)


def test_options_that_mean_nothing_are_refused(tmp_path):
    (tmp_path / "phones.toml").write_text("part = 3\n")
    with pytest.raises(ConfigError, match="unknown key 'part', did you mean 'parts'"):
        read_phone_config(tmp_path / "phones.toml", {})
    with pytest.raises(ConfigError, match="parts must be at least 1"):
        PhoneConfig(parts=0)


def test_layers_have_the_sizes_asked_for():
    network = PhoneNetwork(40, 100, PhoneConfig(hidden_size=32, num_layers=2))
    assert [layer.weight.shape for layer in network if isinstance(layer, torch.nn.Linear)] == [(32, 600), (32, 32), (100, 32)]
