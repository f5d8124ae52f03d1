"""The folder of a system: a round trip, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from sv_toolkit.errors import ModelError
from sv_toolkit.ivector.gmm import FullGmm
from sv_toolkit.ivector.store import Description, load_system, read_description, save_system
from sv_toolkit.ivector.total_variability import TotalVariability


@pytest.fixture
def system(rng, small):
    gmm = FullGmm(np.full(4, 0.25), rng.standard_normal((4, 3)), np.tile(2 * np.eye(3), (4, 1, 1)))
    return (
        gmm,
        TotalVariability(rng.standard_normal((4, 3, 3)), rng.standard_normal((4, 3))),
        Description(small, "ubm", 3, {"mfcc": {"config": {}}}, {"a": 1}),
    )


@pytest.fixture
def folder(tmp_path, system):
    save_system(tmp_path / "model", *system)
    return tmp_path / "model"


def test_a_system_survives_the_round_trip(folder, system):
    (gmm, total, description), (read_gmm, read_total, read) = system, load_system(folder)
    assert read == description
    for made, kept in ((gmm, read_gmm), (total, read_total)):
        assert all((getattr(made, name) == getattr(kept, name)).all() for name in made.__dataclass_fields__)


def test_the_same_system_has_the_same_bytes(folder, system, tmp_path):
    save_system(tmp_path / "again", *system)
    for name in ("ivector.json", "ivector.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_files_that_are_missing_cut_or_changed_are_refused(folder):
    path = folder / "ivector.safetensors"
    blob = path.read_bytes()
    path.write_bytes(blob[:-8])
    with pytest.raises(ModelError, match="truncated, or the arrays of another folder"):
        load_system(folder)
    path.write_bytes(blob[:-1] + bytes([blob[-1] ^ 1]))
    with pytest.raises(ModelError, match="corrupt: its checksum"):
        load_system(folder)
    path.unlink()
    with pytest.raises(ModelError, match="ivector.safetensors: missing"):
        load_system(folder)
    (folder / "ivector.json").unlink()
    with pytest.raises(ModelError, match="is not an i-vector system, or sv-train-ivector has not finished it"):
        load_system(folder)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda content: content.pop("config"), "is not the description of an i-vector system"),
        (lambda content: content.update(format=99), "format version 99"),
        (lambda content: content.update(alignment="magic"), "alignment must be one of ubm, posteriors"),
        (lambda content: content.update(weights=[]), "is not the description of an i-vector system"),
        (lambda content: content.update(feature_dim=4), r"is float64 \(4, 3.* asks for float64 \(4, 4"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(folder, change, message):
    path = folder / "ivector.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=message):
        load_system(folder)


def rewrite(folder, change):
    """Other arrays with a digest that fits: damage that only a look at the numbers can find."""
    import hashlib

    gmm, total, _ = load_system(folder)
    arrays = {**vars_of(gmm), **vars_of(total)}
    change(arrays)
    save_file(arrays, folder / "ivector.safetensors")
    blob = (folder / "ivector.safetensors").read_bytes()
    content = json.loads((folder / "ivector.json").read_text())
    content["weights"] = {"size": len(blob), "sha256": hashlib.sha256(blob).hexdigest()}
    (folder / "ivector.json").write_text(json.dumps(content))


def vars_of(record):
    return {name: getattr(record, name).copy() for name in record.__dataclass_fields__}


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda arrays: arrays.pop("offsets"), "1 arrays are missing or unexpected: offsets"),
        (lambda arrays: arrays.update(more=np.zeros(1)), "1 arrays are missing or unexpected: more"),
        (lambda arrays: arrays["matrix"].__setitem__((0, 0, 0), np.nan), "matrix holds values that are not finite"),
        (lambda arrays: arrays.update(means=arrays["means"].astype(np.float32)), r"means is float32"),
        (lambda arrays: arrays["covariances"].__imul__(-1), "weights or covariances are not positive"),
        (lambda arrays: arrays["weights"].__setitem__(0, 0.0), "weights or covariances are not positive"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(folder, change, message):
    rewrite(folder, change)
    with pytest.raises(ModelError, match=message):
        load_system(folder)


def test_the_description_alone_tells_the_digest(folder):
    description, known = read_description(folder)
    assert description.frame_dim == 3
    assert known["size"] == (folder / "ivector.safetensors").stat().st_size
