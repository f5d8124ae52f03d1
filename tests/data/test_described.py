"""How features were made is known of data directories made of others, too, and features made in two ways are never joined."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from click.testing import CliRunner

from sv_toolkit.cli.combine_data import command as combine
from sv_toolkit.cli.split_data import command as split
from sv_toolkit.cli.subset_data import command as subset
from sv_toolkit.data.data_dir import DataDir, write_data_dir
from sv_toolkit.data.described import carried
from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.data.operations import tables_of
from sv_toolkit.data.validation import validate
from sv_toolkit.errors import DataError
from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.io.manifest import Manifest, describe_file, is_finished, read_manifest, write_manifest


def run(command, *arguments, code=0):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def make(tmp_path):
    """A data directory of four utterances with features and decisions made as `kind` and `config` say."""

    def make_one(name, kind="fbank", vad=True, **config):
        folder, ids = tmp_path / name, [f"{name}-{i}" for i in range(4)]
        tables = {"utt2spk": {key: key[:-1] + str(int(key[-1]) // 2) for key in ids}, "utt2num_frames": dict.fromkeys(ids, "3")}
        write_data_dir(folder, tables)
        for table, manifest, shape in (("feats", kind, (3, 2)), ("vad", "vad" if vad else "", 3)):
            write_ark_scp(folder, table, {key: np.ones(shape, np.float32) for key in ids})
            if manifest:
                files = {file: describe_file(folder / file) for file in (f"{table}.ark", f"{table}.scp")}
                job = {"command": f"sv-{manifest}", "config": {"low_freq": 20.0, **config}, "data": {"wav.scp": name}}
                write_manifest(folder, Manifest(manifest, job, {"utterances": 4}, files))
        return folder

    return make_one


def test_a_subset_and_a_split_know_how_their_features_were_made(make, tmp_path):
    made = FeatureIndex(make("a"), need_vad=True).made_by()
    run(subset, "--utterances=2", tmp_path / "a", tmp_path / "part")
    run(split, tmp_path / "a", 2, tmp_path / "parts")
    for part in (tmp_path / "part", tmp_path / "parts" / "1", tmp_path / "parts" / "2"):
        assert FeatureIndex(part, need_vad=True).made_by() == made
        assert read_manifest(part, "fbank").counts == {"utterances": 2}
        assert is_finished(part, "fbank", read_manifest(tmp_path / "a", "fbank").job)
        assert validate(part, read_data=True) == validate(part) != []  # there is no wav.scp, and that is all
    assert "already done" in run(subset, "--utterances=2", tmp_path / "a", tmp_path / "part").stderr


def test_joined_features_keep_what_their_makers_say_alike(make, tmp_path):
    a, b = make("a"), make("b")
    run(combine, tmp_path / "out", a, b)
    assert read_manifest(tmp_path / "out", "fbank").job == {"command": "sv-fbank", "config": {"low_freq": 20.0}}
    assert FeatureIndex(tmp_path / "out", need_vad=True).made_by() == FeatureIndex(a, need_vad=True).made_by()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"low_freq": 300.0}, "b: fbank was made with other options than in .*a: low_freq 300.0 instead of 20.0; extract one"),
        ({"kind": "mfcc"}, "b: the features are of the kind mfcc, those of .*a of the kind fbank; extract one of them again"),
    ],
)
def test_features_made_in_two_ways_are_not_joined(make, tmp_path, other, message):
    sources = [DataDir.read(make(name, **options), ("utt2spk",)) for name, options in (("a", {}), ("b", other))]
    with pytest.raises(DataError, match=message):
        carried(sources, {"feats.scp": {}}, tmp_path / "out")
    assert carried(sources, {"utt2spk": {}}, tmp_path / "out") == {}
    result = run(combine, tmp_path / "out", tmp_path / "a", tmp_path / "b", code=1)
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_what_is_not_known_of_all_is_left_out_with_a_warning(make, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)
    sources = [DataDir.read(make(name, vad=vad), ("utt2spk",)) for name, vad in (("a", True), ("b", False))]
    texts = carried(sources, {**tables_of(sources[0]), **tables_of(sources[1])}, tmp_path / "out")
    assert texts.keys() == {"fbank.manifest.json"}
    assert json.loads(texts["fbank.manifest.json"])["counts"] == {"utterances": 4}
    assert "vad.manifest.json is left out: " in caplog.text and "b does not have it" in caplog.text
