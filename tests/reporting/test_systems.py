"""What a report is made from is read whole, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sv_toolkit.errors import DataError, ModelError
from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.reporting.identification import IdentificationSettings, identify
from sv_toolkit.reporting.results import as_json
from sv_toolkit.reporting.systems import TrialLists, read_bases, read_embedded, read_identified, read_model, read_system


@pytest.fixture
def bases(tmp_path, rng):
    """A training folder with bases of three speakers."""
    numpy_files = pytest.importorskip("safetensors.numpy")
    values = rng.normal(size=(3, 4)).astype(np.float32)
    numpy_files.save_file({"bases": values, "scale": np.ones(1, np.float32)}, tmp_path / "loss.safetensors")
    (tmp_path / "speakers.txt").write_text("s0\ns1\ns2\n")
    return tmp_path, values


def test_bases_belong_to_the_speakers_in_their_order(bases):
    folder, values = bases
    found = read_bases(folder)
    assert list(found) == ["s0", "s1", "s2"]
    assert np.array_equal(np.array(list(found.values())), values)


def test_a_folder_without_bases_has_none(tmp_path, bases):
    assert read_bases(tmp_path / "elsewhere") == {}
    (bases[0] / "speakers.txt").unlink()
    assert read_bases(bases[0]) == {}


def test_bases_that_do_not_fit_the_speakers_are_refused(bases):
    folder, _ = bases
    (folder / "speakers.txt").write_text("s0\ns1\n")
    with pytest.raises(ModelError, match=r"\(3, 4\).*2 lines"):
        read_bases(folder)
    (folder / "loss.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="not a safetensors file"):
        read_bases(folder)


def test_a_model_is_what_lies_in_its_folder(bases):
    folder, _ = bases
    (folder / "model.json").write_text(json.dumps({"architecture": "lstm"}))
    (folder / "train.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    model = read_model("m", folder, None)
    assert model.description == {"architecture": "lstm"}
    assert model.training.curves["loss"][1].tolist() == [2.0]
    assert set(model.bases) == {"s0", "s1", "s2"}


def test_a_training_that_is_not_finished_has_curves_alone(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    assert read_model("m", tmp_path, None).description == {}


@pytest.mark.parametrize("content", ["[]", "{", "[" * 100_000, ""])
def test_a_damaged_description_is_named(tmp_path, content):
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(ModelError, match=r"model\.json: is not a model description"):
        read_model("m", tmp_path, None)


def test_what_is_no_model_folder_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no such model folder"):
        read_model("m", tmp_path / "none", None)
    with pytest.raises(ModelError, match="neither"):
        read_model("m", tmp_path, None)


def test_embeddings_know_their_speakers(tmp_path, rng):
    vectors = {f"s{i // 2}-u{i}": rng.normal(size=4).astype(np.float32) for i in range(6)}
    write_ark_scp(tmp_path, "dvector", vectors)
    (tmp_path / "utt2spk").write_text("".join(f"{key} {key[:2]}\n" for key in vectors))
    found = read_embedded("e", tmp_path / "dvector.scp", None, {"s0": np.ones(4), "s1": np.ones(5)})
    assert found.speakers == ["s0", "s0", "s1", "s1", "s2", "s2"]
    assert np.allclose(found.vectors, np.array(list(vectors.values())))
    assert set(found.bases) == {"s0"}, "a basis of another dimension belongs to another model"
    (tmp_path / "utt2spk").write_text("s0-u0 s0\n")
    with pytest.raises(DataError, match=r"does not say the speaker of s0-u1, .*\(5 of 6 embeddings\)"):
        read_embedded("e", tmp_path / "dvector.scp", None, {})


def test_systems_share_a_list_and_scores_follow_another_order(tmp_path):
    lines = ["a b target", "a c nontarget", "b c nontarget"]
    for name, order in (("one", (0, 1, 2)), ("two", (2, 0, 1))):
        (tmp_path / name).write_text("".join(lines[i] + "\n" for i in order))
    (tmp_path / "scores").write_text("a b 3\na c 2\nb c 1\n")
    lists = TrialLists("auto")
    first, again, other = (
        read_system("x", tmp_path / name, tmp_path / "scores", lists, None, None, False) for name in ("one", "one", "two")
    )
    assert first.trials is again.trials
    assert other.scores.tolist() == [1, 3, 2]
    assert other.scores_for(first.trials).tolist() == first.scores.tolist() == [3, 2, 1]
    assert [side.tolist() for side in first.sides] == [[3], [2, 1]]
    assert first.scores_path == Path(tmp_path / "scores")


def test_identification_is_read_as_it_is_written(tmp_path, rng):
    vectors, speakers = rng.normal(size=(40, 4)), np.repeat(np.arange(8), 5)
    written = identify(vectors, speakers, IdentificationSettings(num_enroll=(1, 2), top_k=(3,), false_alarms=(0.1,)))
    (tmp_path / "found.json").write_text(as_json({f"{each.num_enroll} enrolled": each for each in written}))
    found = read_identified("x", tmp_path / "found.json").records
    assert [(each.num_enroll, each.accuracy, each.eer, each.num_anchors) for each in found] == [
        (each.num_enroll, each.accuracy, each.eer, each.num_anchors) for each in written
    ]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"a": 1}', '{"a": {"accuracy": 2}}', '{"a": {"num_enroll": "x"}}', "[" * 100_000])
def test_what_is_no_result_of_identification_is_refused(tmp_path, content):
    (tmp_path / "found.json").write_text(content)
    with pytest.raises(DataError, match="no result of identification; sv-eval-identification"):
        read_identified("x", tmp_path / "found.json")
