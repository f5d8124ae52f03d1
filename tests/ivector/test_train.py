"""Training in stages, and extraction: same bytes for any number of jobs, finished stages kept, others refused."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging

import numpy as np
import pytest

from sv_toolkit.errors import ConfigError, DataError, ModelError, OutputError, TooManyBadError
from sv_toolkit.extraction.pipeline import RunOptions
from sv_toolkit.io.archives import ScpReader, read_vectors, write_ark_scp
from sv_toolkit.io.manifest import read_manifest
from sv_toolkit.ivector import train as train_module
from sv_toolkit.ivector.config import TotalVariabilityConfig
from sv_toolkit.ivector.extract import extract_ivectors
from sv_toolkit.ivector.store import load_system, read_description
from sv_toolkit.ivector.train import Options, train_ivector

ONE_JOB = RunOptions(num_jobs=1)


def train(config, data, folder, **options):
    return train_ivector(config, Options(data, folder, **{"num_jobs": 1, **options}))


def content(folder):
    """Digests of all files, blind to the folder's own name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes().replace(str(folder).encode(), b"@")).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def model(small, data, tmp_path):
    train(small, data, tmp_path / "model")
    return tmp_path / "model"


def damage(data, utterance):
    reader = ScpReader(data / "feats.scp")
    features = {key: reader.read(key) for key in reader}
    features[utterance][0, 0] = np.inf
    write_ark_scp(data, "feats", features)


def test_the_number_of_jobs_does_not_change_a_byte(small, data, model, tmp_path):
    train(small, data, tmp_path / "other", num_jobs=3)
    assert content(model) == content(tmp_path / "other")
    assert set(content(model)) == {
        "ivector.json", "ivector.manifest.json", "ivector.safetensors", "skipped.tsv", "ubm.manifest.json", "ubm.safetensors"
    }  # fmt: skip
    for num_jobs in (1, 2):
        extract_ivectors(model, data, tmp_path / f"out{num_jobs}", RunOptions(num_jobs=num_jobs))
    assert content(tmp_path / "out1") == content(tmp_path / "out2")


def test_i_vectors_tell_speakers_apart_that_were_not_trained_on(model, make_data, rng, tmp_path):
    test = make_data(tmp_path / "test", rng, num_speakers=5, prefix="t")
    assert extract_ivectors(model, test, tmp_path / "out", ONE_JOB) == 25
    ids, vectors = read_vectors(tmp_path / "out" / "ivector.scp")
    assert vectors.shape == (25, 3)
    speakers = np.array([key[:3] for key in ids])
    spread = {
        same: np.mean([np.linalg.norm(a - b) for a, s in zip(vectors, speakers) for b, t in zip(vectors, speakers) if (s == t) == same])
        for same in (True, False)
    }
    assert spread[True] < 0.6 * spread[False]
    assert (tmp_path / "out" / "utt2spk").read_bytes() == (test / "utt2spk").read_bytes()


def test_the_marginal_likelihood_of_the_stages_is_kept_and_never_decreases(model):
    values = read_description(model)[0].provenance["log_marginals_per_utterance"]
    assert len(values) == 4
    assert (np.diff(values) > 0).all()


def test_finished_work_is_not_done_again(small, data, model, monkeypatch, caplog):
    before = content(model)
    monkeypatch.setattr(train_module, "survey", lambda *_: pytest.fail("read again"))
    with caplog.at_level(logging.INFO, "sv_toolkit"):
        assert train(small, data, model) is False
    assert "nothing to do" in caplog.text
    assert content(model) == before


@pytest.mark.parametrize("stage", ["utterance_statistics", "maximization", "save_system"])
def test_a_run_that_broke_off_goes_on_with_the_background_model_that_is_there(small, data, model, tmp_path, monkeypatch, stage):
    folder, calls, whole = tmp_path / "again", [], getattr(train_module, stage)

    def break_off(*arguments):
        calls.append(arguments)
        if len(calls) == (1 if stage == "save_system" else 2):
            raise KeyboardInterrupt
        return whole(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(train_module, stage, break_off)
        with pytest.raises(KeyboardInterrupt):
            train(small, data, folder)
    assert read_manifest(folder, "ivector") is None
    monkeypatch.setattr(train_module, "train_ubm", lambda *_: pytest.fail("trained again"))
    train(small, data, folder)
    assert content(folder) == content(model)


def test_statistics_that_are_there_are_not_made_again(small, data, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "_total_variability", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(small, data, tmp_path / "model")
    monkeypatch.setattr(train_module, "utterance_statistics", lambda *_: pytest.fail("made again"))
    assert train(small, data, tmp_path / "model") is True


@pytest.mark.parametrize("damage", [lambda content: content[:100], lambda content: b"", lambda content: content.replace(b"sums", b"some")])
def test_damaged_statistics_are_made_again(small, data, model, tmp_path, monkeypatch, damage):
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "_total_variability", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(small, data, tmp_path / "again")
    shard = next((tmp_path / "again/.statistics").rglob("*.safetensors"))
    shard.write_bytes(damage(shard.read_bytes()))
    train(small, data, tmp_path / "again")
    assert content(tmp_path / "again") == content(model)


def test_other_options_do_not_replace_a_system_unasked(small, data, model):
    before = content(model)
    larger = dataclasses.replace(small, ubm=dataclasses.replace(small.ubm, num_components=5))
    with pytest.raises(OutputError, match="holds a system of other data or options; give --overwrite"):
        train(larger, data, model)
    assert content(model) == before
    train(larger, data, model, overwrite=True)
    assert len(load_system(model)[0].weights) == 5


def test_utterances_that_cannot_be_used_are_named_and_counted(small, data, tmp_path):
    damage(data, "s01-u2")
    with pytest.raises(TooManyBadError, match=r"1 of 30 utterances cannot be used .*s01-u2.*not finite"):
        train(small, data, tmp_path / "model")
    train(small, data, tmp_path / "model", max_bad=1)
    assert read_manifest(tmp_path / "model", "ivector").counts == {"utterances": 29, "skipped": 1}
    assert (tmp_path / "model" / "skipped.tsv").read_text().startswith("s01-u2\tsv-train-ivector\t")
    assert extract_ivectors(tmp_path / "model", data, tmp_path / "out", RunOptions(num_jobs=1, max_bad=1)) == 29
    assert (tmp_path / "out" / "skipped.tsv").read_text().startswith("s01-u2\tsv-extract-ivector\t")


def test_more_dimensions_than_utterances_are_allowed(small, data, tmp_path):
    large = dataclasses.replace(small, total_variability=TotalVariabilityConfig(ivector_dim=40, num_iterations=2))
    train(large, data, tmp_path / "model")  # the prior keeps the posteriors proper
    assert load_system(tmp_path / "model")[1].ivector_dim == 40


def test_a_system_of_diagonal_gaussians_is_another_and_extracts_as_it_was_trained(small, data, model, tmp_path):
    diagonal = dataclasses.replace(small, ubm=dataclasses.replace(small.ubm, covariance="diagonal"))
    train(diagonal, data, tmp_path / "diagonal")
    gmm, _, description = load_system(tmp_path / "diagonal")
    assert description.config.ubm.covariance == "diagonal"
    assert (gmm.covariances == gmm.covariances * np.eye(gmm.means.shape[1])).all()
    assert extract_ivectors(tmp_path / "diagonal", data, tmp_path / "out", ONE_JOB) == 30
    with pytest.raises(OutputError, match="other data or options"):
        train(diagonal, data, model)


def posteriors_of(data, place, num_classes=3):
    reader = ScpReader(data / "feats.scp")
    place.mkdir()
    is_first = {key: (reader.read(key)[:, 0] < 2).astype(np.float32) for key in reader}
    given = {key: np.stack([first, *[(1 - first) / (num_classes - 1)] * (num_classes - 1)], axis=1) for key, first in is_first.items()}
    return write_ark_scp(place, "post", given)


def test_posteriors_of_another_source_take_the_place_of_the_background_model(small, data, model, tmp_path):
    scp = posteriors_of(data, tmp_path / "post")
    three = dataclasses.replace(small, ubm=dataclasses.replace(small.ubm, num_components=3))
    train(three, data, tmp_path / "given", posteriors=scp)
    assert extract_ivectors(tmp_path / "given", data, tmp_path / "out", ONE_JOB, scp) == 30
    speakers = np.array([key[:3] for key in read_vectors(tmp_path / "out" / "ivector.scp")[0]])
    vectors = read_vectors(tmp_path / "out" / "ivector.scp")[1]
    within = np.mean([vectors[speakers == s].var(axis=0).sum() for s in set(speakers)])
    assert within < 0.3 * vectors.var(axis=0).sum()
    with pytest.raises(ModelError, match="was trained with given posteriors; give those of this data with --posteriors"):
        extract_ivectors(tmp_path / "given", data, tmp_path / "none", ONE_JOB)
    with pytest.raises(ModelError, match="aligns frames by its own background model; leave out --posteriors"):
        extract_ivectors(model, data, tmp_path / "none", ONE_JOB, scp)
    with pytest.raises(ConfigError, match="give --num-components 3"):
        train(small, data, tmp_path / "wrong", posteriors=scp)


def test_posteriors_of_another_number_of_classes_are_refused_or_skipped(small, data, tmp_path):
    scp = posteriors_of(data, tmp_path / "post")
    three = dataclasses.replace(small, ubm=dataclasses.replace(small.ubm, num_components=3))
    train(three, data, tmp_path / "given", posteriors=scp)
    with pytest.raises(ModelError, match="posteriors have 4 columns, the model .*given needs 3"):
        extract_ivectors(tmp_path / "given", data, tmp_path / "out", ONE_JOB, posteriors_of(data, tmp_path / "four", 4))
    reader = ScpReader(scp)
    given = {key: reader.read(key).copy() for key in reader}
    given["s01-u2"] = given["s01-u2"][:, :2] / 2
    mixed = write_ark_scp(tmp_path, "mixed", given)
    with pytest.raises(TooManyBadError, match="s01-u2: posteriors have 2 columns, the others have 3"):
        train(three, data, tmp_path / "mixed", posteriors=mixed)
    train(three, data, tmp_path / "mixed", posteriors=mixed, max_bad=1)
    assert extract_ivectors(tmp_path / "given", data, tmp_path / "out", RunOptions(num_jobs=1, max_bad=1), mixed) == 29
    assert "posteriors have 2 columns" in (tmp_path / "out/skipped.tsv").read_text()


def test_features_made_in_another_way_are_refused(model, data, tmp_path):
    description = json.loads((model / "ivector.json").read_text())
    description["features"] = {"mfcc": {"config": {"low_freq": 20.0, "num_ceps": 3}}}
    (model / "ivector.json").write_text(json.dumps(description))
    manifest = {"format": 1, "job": {"config": {"low_freq": 64.0, "num_ceps": 3}}, "counts": {}, "files": {}}
    (data / "mfcc.manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="mfcc was made with other options .*: low_freq 64.0 instead of 20.0"):
        extract_ivectors(model, data, tmp_path / "out", ONE_JOB)


def test_features_of_another_width_are_refused(model, make_data, rng, tmp_path):
    test = make_data(tmp_path / "test", rng)
    reader = ScpReader(test / "feats.scp")
    write_ark_scp(test, "feats", {key: reader.read(key)[:, :2].copy() for key in reader})
    with pytest.raises(ModelError, match="features have 2 columns, .* needs 3"):
        extract_ivectors(model, test, tmp_path / "out", ONE_JOB)


def test_features_or_posteriors_made_anew_with_the_same_shapes_are_other_data(small, data, model, tmp_path):
    scp = posteriors_of(data, tmp_path / "post")
    three = dataclasses.replace(small, ubm=dataclasses.replace(small.ubm, num_components=3))
    train(three, data, tmp_path / "given", posteriors=scp)
    reader = ScpReader(scp)
    write_ark_scp(scp.parent, scp.stem, {key: reader.read(key)[:, ::-1] for key in reader})
    with pytest.raises(OutputError, match="other data or options"):
        train(three, data, tmp_path / "given", posteriors=scp)
    reader = ScpReader(data / "feats.scp")
    write_ark_scp(data, "feats", {key: reader.read(key) + 1 for key in reader})
    with pytest.raises(OutputError, match="other data or options"):
        train(small, data, tmp_path / "model")


@pytest.mark.parametrize("wrong", ["data", "components"])
def test_overwriting_leaves_the_system_where_the_inputs_cannot_be_used(small, data, model, tmp_path, wrong):
    before = content(model)
    config = dataclasses.replace(small, ubm=dataclasses.replace(small.ubm, num_components=10**6)) if wrong == "components" else small
    with pytest.raises(DataError):
        train(config, tmp_path / "absent" if wrong == "data" else data, model, overwrite=True)
    assert content(model) == before


def test_overwriting_trains_anew_though_the_same_work_is_done(small, data, model):
    before, written = content(model), (model / "ubm.safetensors").stat().st_mtime_ns
    assert train(small, data, model, overwrite=True)
    assert content(model) == before and (model / "ubm.safetensors").stat().st_mtime_ns > written


@pytest.mark.parametrize("use_vad", [True, False])
def test_other_decisions_are_refused_only_where_the_system_reads_them(small, data, tmp_path, use_vad):
    def say(kind):
        manifest = {"format": 1, "job": {"config": {"kind": kind}}, "counts": {}, "files": {}}
        (data / "vad.manifest.json").write_text(json.dumps(manifest))

    say("webrtc")
    train(dataclasses.replace(small, frames=dataclasses.replace(small.frames, use_vad=use_vad)), data, tmp_path / "model")
    say("energy")
    refusal = pytest.raises(ModelError, match="kind energy instead of webrtc") if use_vad else contextlib.nullcontext()
    with refusal:
        extract_ivectors(tmp_path / "model", data, tmp_path / "out", ONE_JOB)
