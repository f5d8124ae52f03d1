"""Several sources: one batch of each per step, losses added with their weights; starts from other weights; a speaker is one class."""

from __future__ import annotations

import contextlib
import json
import logging

import numpy as np
import pytest
import torch

from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.errors import ConfigError, DataError, ModelError, OutputError, SvError
from sv_toolkit.io.archives import ScpReader, write_ark_scp
from sv_toolkit.io.tables import write_table
from sv_toolkit.models.store import load_model
from sv_toolkit.training.config import train_config
from sv_toolkit.training.processes import Processes
from sv_toolkit.training.relations import originals_of, sessions_of
from sv_toolkit.training.run import Options, describe_job, run_training
from sv_toolkit.training.sources import NamedData, Place, load_sources


@pytest.fixture(autouse=True)
def hear_warnings(monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)
    caplog.set_level(logging.INFO, "sv_toolkit")


@pytest.fixture
def sources(make_data, tmp_path, rng):
    return (
        NamedData("small", make_data(tmp_path / "small", rng, num_speakers=4, prefix="t"), 1.0),
        NamedData("large", make_data(tmp_path / "large", rng, num_speakers=9), 0.25),
    )


def records(folder):
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def test_the_loss_is_the_weighted_sum_of_the_losses_of_the_sources(sources, valid, tables, tmp_path):
    tables["trainer"].update(steps=3, log_interval=1)
    both = (NamedData("dev", valid), NamedData("other", sources[0].path))
    run_training(train_config(tables, "x"), Options(sources, tmp_path / "exp", both))
    steps = [record for record in records(tmp_path / "exp") if "loss" in record]
    assert len(steps) == 3
    for record in steps:
        assert record["loss"] == pytest.approx(record["small.loss"] + 0.25 * record["large.loss"], rel=1e-6)
    look = next(record for record in records(tmp_path / "exp") if "dev_eer" in record)
    assert look["dev_eer"] == look["dev_eer.dev"] and 0 <= look["dev_eer.other"] <= 1


def test_one_source_twice_with_half_the_weight_each_descends_the_same_mean_loss(data, tables, tmp_path):
    """The expectation over one data set is what both halves estimate: equal classes, other draws."""
    both = (NamedData("a", data, 0.5), NamedData("b", data, 0.5))
    loaded, speakers, _ = load_sources(train_config(tables, "x"), both, Place(torch.device("cpu"), tmp_path), Processes())
    assert len(speakers) == 6
    np.testing.assert_array_equal(loaded[0].classes, loaded[1].classes)


def test_a_run_over_sources_stopped_and_resumed_ends_with_the_same_bytes(sources, tables, tmp_path):
    config = train_config({**tables, "loss": {"terms": [{"name": "ge2e"}, {"name": "am_softmax", "weight": 0.3}]}}, "x")
    left = iter(range(6))
    run_training(config, Options(sources, tmp_path / "whole"))
    run_training(config, Options(sources, tmp_path / "broken", should_stop=lambda: next(left, None) is None))
    run_training(config, Options(sources, tmp_path / "broken"))
    for name in ("model.safetensors", "loss.safetensors", "train.jsonl", "speakers.txt"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes()


def test_a_small_source_may_have_smaller_batches(sources, tables, tmp_path):
    tables["batch"]["num_speakers"] = 9
    with pytest.raises(DataError, match="needs 9 speakers.*has 4"):
        run_training(train_config(tables, "x"), Options(sources, tmp_path / "a"))
    tables["sources"] = {"small": {"num_speakers": 4}}
    assert run_training(train_config(tables, "x"), Options(sources, tmp_path / "b")).finished


def test_a_source_of_the_configuration_without_data_is_refused(sources, tables, tmp_path):
    tables["sources"] = {"medium": {"weight": 2.0}}
    with pytest.raises(ConfigError, match="medium.*--train NAME:DIR"):
        run_training(train_config(tables, "x"), Options(sources, tmp_path / "a"))


def test_fine_tuning_takes_over_every_tensor_and_goes_on_from_there(data, tables, tmp_path, caplog):
    run_training(train_config(tables, "x"), Options(data, tmp_path / "first"))
    tables["trainer"] = {"steps": 1}
    tables["optimizer"]["learning_rate"] = 1e-12
    run_training(train_config(tables, "x"), Options(data, tmp_path / "second", init=tmp_path / "first"))
    first, second = (load_model(tmp_path / name)[0].state_dict() for name in ("first", "second"))
    assert all(torch.allclose(first[name], second[name], atol=1e-8) for name in first)
    assert f"{len(first)} tensors taken over, 0 drawn anew" in caplog.text


def test_what_does_not_fit_is_named_unless_it_is_skipped_by_name(data, tables, tmp_path, caplog):
    run_training(train_config(tables, "x"), Options(data, tmp_path / "first"))
    tables["network"]["embedding_dim"] = 7
    with pytest.raises(ModelError, match=r"2 tensors are not in both networks.*linear.bias, linear.weight.*--init-skip"):
        run_training(train_config(tables, "x"), Options(data, tmp_path / "second", init=tmp_path / "first"))
    with pytest.raises(ModelError, match="matches no tensor"):
        run_training(train_config(tables, "x"), Options(data, tmp_path / "third", init=tmp_path / "first", init_skip=("lineal.*",)))
    options = Options(data, tmp_path / "fourth", init=tmp_path / "first", init_skip=("linear.*",))
    assert run_training(train_config(tables, "x"), options).finished
    assert "2 drawn anew (linear.bias, linear.weight)" in caplog.text


def test_chunked_training_gives_the_model_of_whole_batches(data, tables, tmp_path):
    tables["network"]["dropout"] = 0.0
    tables["optimizer"] = {"name": "sgd", "learning_rate": 0.1}
    for name, size in (("whole", 0), ("chunks", 5)):
        tables["trainer"]["chunk_utterances"] = size
        run_training(train_config(tables, "x"), Options(data, tmp_path / name))
    whole, chunks = (load_model(tmp_path / name / "last")[0].state_dict() for name in ("whole", "chunks"))
    assert max(float((whole[name] - chunks[name]).abs().max() / whole[name].abs().max()) for name in whole) < 1e-5


def test_speaker_bases_are_kept_beside_the_model_in_the_order_of_the_speakers(data, tables, tmp_path):
    from safetensors.torch import load_file

    run_training(train_config({**tables, "loss": {"name": "softmax"}}, "x"), Options(data, tmp_path / "exp"))
    assert load_file(tmp_path / "exp/loss.safetensors")["bases"].shape == (6, 4)
    assert (tmp_path / "exp/speakers.txt").read_text().split() == [f"s{i:02d}" for i in range(6)]


def test_more_processes_than_utterances_of_a_batch_are_refused(data, tables, tmp_path, monkeypatch):
    class Crowd(Processes):
        number = 13

    monkeypatch.setattr("sv_toolkit.training.run.joined_processes", lambda *_: contextlib.nullcontext(Crowd()))
    with pytest.raises(ConfigError, match="13 processes cannot share a batch of 12 utterances"):
        run_training(train_config(tables, "x"), Options(data, tmp_path / "exp"))


def test_features_made_anew_with_the_same_shapes_are_another_training(data, tables, tmp_path):
    run_training(train_config(tables, "x"), Options(data, tmp_path / "exp"))
    index, reader = (data / "feats.scp").read_bytes(), ScpReader(data / "feats.scp")
    write_ark_scp(data, "feats", {key: reader.read(key) + 1 for key in reader})
    assert (data / "feats.scp").read_bytes() == index
    with pytest.raises(OutputError, match=r"differs in data\.train\.digest"):
        run_training(train_config(tables, "x"), Options(data, tmp_path / "exp"))


@pytest.mark.parametrize("part", ["data", "valid"])
def test_another_order_is_another_training_whether_it_has_finished_or_not(sources, data, tables, tmp_path, part):
    """The place of a source seeds its batches; the first held-out set decides which model is best."""
    config, given = train_config(tables, "x"), {"data": data, part: sources}
    other = {**given, part: sources[::-1]}
    run_training(config, Options(folder=tmp_path / "done", **given))
    run_training(config, Options(folder=tmp_path / "begun", should_stop=lambda: True, **given))
    for name in ("done", "begun"):
        with pytest.raises(SvError, match=f"differs in order.{'train' if part == 'data' else 'valid'}; give --overwrite"):
            run_training(config, Options(folder=tmp_path / name, **other))
        assert run_training(config, Options(folder=tmp_path / name, **given)).finished


def test_one_source_has_no_order_so_that_its_job_is_what_it_was(data, valid, tables, tmp_path):
    assert "order" not in describe_job(train_config(tables, "x"), Options(data, tmp_path / "exp", valid), Processes(), torch.device("cpu"))


@pytest.mark.parametrize(("part", "option"), [("data", "--train"), ("valid", "--valid")])
def test_two_sources_of_one_name_are_refused(data, tmp_path, part, option):
    twice = (NamedData("a", data), NamedData("a", tmp_path))
    with pytest.raises(ConfigError, match=f"{option}: a names several data directories; give each its own NAME:DIR"):
        Options(**{"data": data, "folder": tmp_path / "exp", part: twice})


@pytest.mark.parametrize("part", ["data", "valid", "noise", "reverb"])
@pytest.mark.parametrize("kind", ["fbank", "mfcc"])
def test_features_made_in_another_way_are_refused_wherever_they_come_from(data, make_data, rng, say_how, tables, tmp_path, part, kind):
    other = make_data(tmp_path / "other", rng, prefix="o")
    say_how(data, "fbank", low_freq=20.0)
    say_how(other, kind, low_freq=64.0)
    tables["augment"] = {"noise_probability": 0.5, "reverb_probability": 0.5}
    given = {"data": data, part: (NamedData("a", data), NamedData("b", other)) if part == "data" else other}
    with pytest.raises(ModelError, match="low_freq 64.0 instead of 20.0" if kind == "fbank" else "are mfcc, .* needs fbank"):
        run_training(train_config(tables, "x"), Options(folder=tmp_path / "exp", **given))


@pytest.mark.parametrize("use_vad", [True, False])
def test_decisions_made_in_another_way_are_refused_where_they_are_read(data, valid, say_how, tables, tmp_path, use_vad):
    say_how(data, "vad", kind="webrtc")
    say_how(valid, "vad", kind="energy")
    tables["input"]["use_vad"] = use_vad
    refusal = pytest.raises(ModelError, match="kind energy instead of webrtc") if use_vad else contextlib.nullcontext()
    with refusal:
        run_training(train_config(tables, "x"), Options(data, tmp_path / "exp", valid))


def test_weights_learned_from_other_features_are_no_start(data, make_data, rng, say_how, tables, tmp_path):
    say_how(data, "fbank", low_freq=20.0)
    say_how(data, "vad", kind="webrtc")
    run_training(train_config(tables, "x"), Options(data, tmp_path / "first"))
    other = make_data(tmp_path / "other", rng, prefix="o")
    say_how(other, "vad", kind="energy")
    assert run_training(train_config(tables, "x"), Options(other, tmp_path / "second", init=tmp_path / "first")).finished
    say_how(other, "mfcc", low_freq=20.0)
    with pytest.raises(ModelError, match="are mfcc, the model .*first needs fbank"):
        run_training(train_config(tables, "x"), Options(other, tmp_path / "third", init=tmp_path / "first"))


def test_originals_follow_utt2uniq_within_a_speaker(data, load):
    found = load(data)
    names = [found.name(place) for place in range(len(found))]
    say = {name: name for name in names} | {"s00-u1": "s00-u0", "s01-u2": "s00-u0", "s02-u3": "gone"}
    write_table(data / "utt2uniq", say)
    originals = originals_of(FeatureIndex(data, need_vad=True), found.usable)
    assert {names[place]: names[original] for place, original in enumerate(originals) if place != original} == {"s00-u1": "s00-u0"}


def test_sessions_are_those_of_utt2session_and_a_missing_table_is_named(data, load, tmp_path, tables):
    found = load(data)
    names = [found.name(place) for place in range(len(found))]
    write_table(data / "utt2session", {name: f"call{name[-1]}" for name in names if not name.startswith("s05")})
    codes = sessions_of(FeatureIndex(data, need_vad=True), found.usable)
    by_session = {}
    for name, code in zip(names, codes.tolist()):
        by_session.setdefault(code, set()).add(name[-1] if not name.startswith("s05") else name)
    assert all(len(own) == 1 for own in by_session.values()) and len(by_session) == 4 + 4
    (data / "utt2session").unlink()
    tables["batch"]["across_sessions"] = True
    with pytest.raises(DataError, match="utt2session: missing; across_sessions"):
        run_training(train_config(tables, "x"), Options(data, tmp_path / "exp"))
