"""From data directories to a model folder: what is there stays until something better can be made of what was given."""

from __future__ import annotations

import hashlib
import logging

import numpy as np
import pytest

from sv_toolkit.errors import OutputError, SvError
from sv_toolkit.io.archives import ScpReader, write_ark_scp
from sv_toolkit.training.config import train_config
from sv_toolkit.training.run import Options, run_training


@pytest.fixture(autouse=True)
def hear_warnings(monkeypatch):
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)


@pytest.fixture
def model(data, tables, tmp_path):
    run_training(train_config(tables, "x"), Options(data, tmp_path / "exp"))
    return tmp_path / "exp"


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("missing", ["data", "valid", "init", "noise", "speakers"])
def test_overwriting_leaves_the_model_where_the_inputs_cannot_be_used(data, model, tables, tmp_path, missing):
    before, absent = digests(model), tmp_path / "absent"
    tables["augment"] = {"noise_probability": 0.5}
    if missing == "speakers":
        tables["batch"]["num_speakers"] = 40
    given = {"data": {"data": absent}, "speakers": {}}.get(missing, {missing: absent})
    with pytest.raises(SvError):
        run_training(train_config(tables, "x"), Options(**{"data": data, "folder": model, "overwrite": True, **given}))
    assert digests(model) == before


def test_overwriting_trains_anew_though_the_same_work_is_done(data, model, tables):
    before, written = digests(model), (model / "model.safetensors").stat().st_mtime_ns
    assert run_training(train_config(tables, "x"), Options(data, model, overwrite=True)).step == 12
    assert digests(model) == before and (model / "model.safetensors").stat().st_mtime_ns > written


@pytest.mark.parametrize("part", [".", "last"])
def test_a_model_does_not_start_from_what_it_replaces(data, model, tables, part):
    before = digests(model)
    with pytest.raises(OutputError, match="--init.*another folder"):
        run_training(train_config(tables, "x"), Options(data, model, init=model / part, overwrite=True))
    assert digests(model) == before


def skipped(folder):
    return [line.split("\t") for line in (folder / "skipped.tsv").read_text().splitlines()]


def test_held_out_utterances_that_cannot_be_used_are_named_in_the_log_and_in_the_list(data, valid, tables, tmp_path, caplog):
    reader = ScpReader(valid / "feats.scp")
    features = {utterance: reader.read(utterance).copy() for utterance in reader}
    features["v00-u0"][3, 2] = np.nan
    write_ark_scp(valid, "feats", features)
    write_ark_scp(valid, "vad", {key: np.full(len(rows), float(key != "v01-u1"), np.float32) for key, rows in features.items()})
    run_training(train_config(tables, "x"), Options(data, tmp_path / "exp", valid, max_bad=1))
    assert skipped(tmp_path / "exp") == [
        ["v00-u0", "sv-train", "held out: v00-u0: features are not finite (NaN or infinite); extract them again"],
        ["v01-u1", "sv-train", "held out: 0 frames of speech, at least 3 are needed"],
    ]
    assert "2 utterances are left out (skipped.tsv has all): v00-u0: held out: v00-u0: features are not finite" in caplog.text


def test_what_other_commands_skipped_stays_in_the_list(data, tables, tmp_path):
    (data / "skipped.tsv").write_text("a-1\tsv-extract-fbank\tsilent\n")
    run_training(train_config(tables, "x"), Options(data, data))
    assert skipped(data) == [["a-1", "sv-extract-fbank", "silent"]]


def stopped_at(step):
    left = iter(range(step - 1))
    return lambda: next(left, None) is None


@pytest.mark.parametrize("change", [lambda lines: lines[:1], lambda lines: [lines[0].replace("1", "2"), *lines[1:]]])
def test_records_that_were_lost_or_changed_before_a_run_goes_on_are_missed(data, tables, tmp_path, caplog, change):
    tables["trainer"]["log_interval"] = 2
    config, exp = train_config(tables, "x"), tmp_path / "exp"
    run_training(config, Options(data, exp, should_stop=stopped_at(7)))
    lines = (exp / "train.jsonl").read_text().splitlines(keepends=True)
    (exp / "train.jsonl").write_text("".join(change(lines)))
    run_training(config, Options(data, exp))
    assert f"train.jsonl: is not what was written up to step 7: {len(change(lines))} records, there were 3" in caplog.text


def test_the_log_of_a_finished_run_is_missed(data, model, tables, caplog):
    (model / "train.jsonl").unlink()
    run_training(train_config(tables, "x"), Options(data, model))
    assert "train.jsonl: is not what was written up to step 12: 0 records, there were 3" in caplog.text


def test_a_run_that_goes_on_with_its_own_records_does_not_miss_any(data, valid, tables, tmp_path, caplog):
    for count in (1, 4, 2):
        run_training(train_config(tables, "x"), Options(data, tmp_path / "exp", valid, should_stop=stopped_at(count)))
    run_training(train_config(tables, "x"), Options(data, tmp_path / "exp", valid))
    assert "is not what was written" not in caplog.text


def test_noise_that_the_configuration_does_not_use_is_warned_of(data, tables, tmp_path, caplog):
    run_training(train_config(tables, "x"), Options(data, tmp_path / "exp", noise=data))
    assert f"--noise {data} has no effect: noise_probability is 0" in caplog.text
