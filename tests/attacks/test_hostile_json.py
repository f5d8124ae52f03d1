"""Descriptions and configurations with anything in place of any value: read, or refused in one line; never another error."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import dataclass, replace

import numpy as np
import pytest

from sv_toolkit.backends.backend import Backend, BackendConfig
from sv_toolkit.backends.calibration import FitList, calibrate, read_calibration, write_calibration
from sv_toolkit.backends.fusion import fit_logistic, read_fusion, write_fusion
from sv_toolkit.backends.store import read_stored, save_backend
from sv_toolkit.config import build, read_config
from sv_toolkit.embeddings.loading import model_of
from sv_toolkit.errors import ConfigError, SvError
from sv_toolkit.io.manifest import Manifest, read_manifest, write_manifest
from sv_toolkit.ivector.config import IvectorConfig
from sv_toolkit.ivector.store import read_description
from sv_toolkit.reporting.systems import read_identified

STRANGE = [None, True, -1, 1e999, float("nan"), -1e308, 10**400, 1 << 63, "", "\x1b[31m", "\ud800", "x" * 5000, [], {}, [None], {"a": None}]
DEEP = "[" * 100_000 + "]" * 100_000
DIGITS = '{"format": ' + "9" * 5000 + "}"


def write_manifest_file(folder):
    write_manifest(folder, Manifest("dvector", {"model": "m"}, {"utterances": 1}, {"dvector.scp": {"size": 1, "sha256": "0"}}))
    return folder / "dvector.manifest.json", lambda: (read_manifest(folder, "dvector"), model_of(folder / "dvector.scp"))


def write_back_end(folder):
    rng = np.random.default_rng(0)
    speakers = np.arange(40) % 8
    vectors = (4 * rng.standard_normal((8, 4))[speakers] + rng.standard_normal((40, 4))).astype(np.float32)
    save_backend(folder, "embedding-backend", Backend(BackendConfig(lda_dim=3)).fit(vectors, speakers), {"job": {}, "counts": {"dim": 4}})
    return folder / "backend.json", lambda: read_stored(folder)


def write_ivector_description(folder):
    content = {"format": 1, "alignment": "ubm", "feature_dim": 5, "features": {}, "provenance": {}, "weights": {"size": 1, "sha256": "0"}}
    path = folder / "ivector.json"
    path.write_text(json.dumps({**content, "config": {"frames": {"cmvn": "none"}, "ubm": {}, "total_variability": {}}}))
    return path, lambda: read_description(folder)


def scores_and_labels():
    is_target = np.arange(60) % 3 == 0
    return np.random.default_rng(1).standard_normal((60, 2)) + is_target[:, None], is_target, FitList("trials", "0" * 12, 20, 40)


def write_calibration_file(folder):
    scores, is_target, trials = scores_and_labels()
    path = folder / "calibration.json"
    write_calibration(path, calibrate(scores[:, 0], is_target, trials))
    return path, lambda: read_calibration(path)


def write_fusion_file(folder):
    scores, is_target, trials = scores_and_labels()
    path = folder / "fusion.json"
    write_fusion(path, fit_logistic(scores, is_target, ["a", "b"], trials))
    return path, lambda: read_fusion(path)


def write_accuracies(folder):
    path = folder / "accuracies.json"
    numbers = {"num_enroll": None, "accuracy": 0.5, "eer": 0.1, "num_anchors": 5, "num_candidates": 3, "num_speakers": 3}
    path.write_text(json.dumps({"single utterances": numbers}))
    return path, lambda: read_identified("A", path)


def write_ivector_config(folder):
    path = folder / "ivector.conf.json"
    path.write_text(json.dumps({"frames": {"cmvn": "none"}, "ubm": {"num_components": 2}, "total_variability": {"ivector_dim": 3}}))
    return path, lambda: build(IvectorConfig, read_config(path), str(path))


def write_model_description(folder):
    store = pytest.importorskip("sv_toolkit.models.store")
    content = {
        "format": 1,
        "architecture": "lstm",
        "network": {},
        "feature_dim": 5,
        "provenance": {},
        "weights": {"size": 1, "sha256": "0"},
    }
    tables = {"input": {}, "windows": {"window": 20, "shift": 10, "shortest": 8}, "features": {"fbank": {"config": {}}}}
    (folder / "model.json").write_text(json.dumps({**content, **tables}))

    def read():
        description, _ = store.read_description(folder)
        assert description.feature_dim > 0
        assert all(isinstance(made["config"], dict) for made in description.features.values())

    return folder / "model.json", read


KINDS = [
    write_model_description,
    write_manifest_file,
    write_back_end,
    write_ivector_description,
    write_calibration_file,
    write_fusion_file,
    write_accuracies,
    write_ivector_config,
]
every_kind = pytest.mark.parametrize("write", KINDS, ids=lambda write: write.__name__.removeprefix("write_"))


def places_in(value, path=()):
    """The way to every value inside, the first ones of long lists."""
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value[:2])) if isinstance(value, list) else []
    for key, item in items:
        yield (*path, key)
        yield from places_in(item, (*path, key))


def replaced(content, path, value):
    content = inner = copy.deepcopy(content)
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return content


def read_or_refuse(read):
    """One line, if it is refused, and not a long one."""
    try:
        read()
    except SvError as error:
        assert len(str(error)) < 2000 and str(error).isprintable()
        return True
    return False


@every_kind
def test_any_value_in_any_place_is_read_or_refused_in_one_line(write, tmp_path):
    file, read = write(tmp_path)
    read()
    content = json.loads(file.read_text())
    assert isinstance(content, dict)
    refused = 0
    for place in places_in(content):
        for value in STRANGE:
            file.write_text(json.dumps(replaced(content, place, value)))
            refused += read_or_refuse(read)
    assert refused


@every_kind
@pytest.mark.parametrize("text", ["", "{", "[]", "1", "null", '"x"', DEEP, DIGITS, "\ufeff{}", '{"a": 1, "a": 2}'])
def test_a_file_that_is_something_else_is_refused(write, text, tmp_path):
    file, read = write(tmp_path)
    file.write_text(text)
    with pytest.raises(SvError) as caught:
        read()
    assert len(str(caught.value)) < 2000 and "\n" not in str(caught.value)


@every_kind
def test_a_named_pipe_is_refused_and_not_waited_for(write, tmp_path):
    file, read = write(tmp_path)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(SvError):
        read()


@dataclass(frozen=True)
class Options:
    """Of every scalar kind."""

    count: int = 1
    rate: float = 1.0


@pytest.mark.parametrize("key", ["count", "rate"])
@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 400, "9" * 5000, str(1 << 63)])
@pytest.mark.parametrize("form", ["{key} = {number}\n", '{{"{key}": {number}}}'])
def test_a_number_beyond_64_bits_is_refused_and_not_overflown(key, number, form, tmp_path):
    path = tmp_path / ("x.json" if form.startswith("{{") else "x.toml")
    path.write_text(form.format(key=key, number=number))
    with pytest.raises(ConfigError, match=r"x\.(json|toml): "):
        build(Options, read_config(path), str(path))


def test_ratios_that_overflow_are_refused_and_not_written(tmp_path):
    scores, is_target, trials = scores_and_labels()
    found = calibrate(scores[:, 0], is_target, trials)
    with pytest.raises(SvError, match="not finite"):
        replace(found, weights=(1.7e308,)).llr(np.array([0.0, 10.0]))


def test_half_a_character_is_refused_where_it_is_read(tmp_path):
    file, read = write_calibration_file(tmp_path)
    file.write_text(json.dumps({**json.loads(file.read_text()), "scoring": "\ud800"}))
    with pytest.raises(SvError, match="half a character"):
        read()


def test_a_device_is_no_configuration(tmp_path):
    (tmp_path / "endless.toml").symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="not a regular file"):
        read_config(tmp_path / "endless.toml")
