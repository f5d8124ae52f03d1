"""The training index: what the slow way finds, from any parts, bound to the features it was made from."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.errors import OutputError, TooManyBadError
from sv_toolkit.io.archives import ScpReader, write_ark_scp
from sv_toolkit.io.parts import Join, Part
from sv_toolkit.training.index import PER_BAND, SCALARS, index_part, joined
from sv_toolkit.training.index_store import ensure_index, index_folder, join_index, load_index, no_progress, write_index_part

ARRAYS = (*SCALARS, *PER_BAND, "rows")


@pytest.fixture
def index(data):
    return FeatureIndex(data, need_vad=True)


def whole(index):
    return index_part(index, range(index.num_utterances), True)


def same(one, other):
    assert one.bad == other.bad
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


def test_rows_and_moments_are_those_of_the_selected_frames(index):
    found = whole(index)
    for place in range(index.num_utterances):
        features, is_voiced = index.read_at(place)
        assert found.num_frames[place] == is_voiced.sum()
        np.testing.assert_array_equal(found.selected(place, 2, 9), np.flatnonzero(is_voiced)[2:9])
        np.testing.assert_allclose(found.mean[place], features[is_voiced].mean(axis=0, dtype=np.float64), rtol=1e-6)
        np.testing.assert_allclose(found.deviation[place], features[is_voiced].std(axis=0, dtype=np.float64), rtol=1e-6)


def test_frames_without_gaps_take_no_list_of_rows(data):
    index = FeatureIndex(data, need_vad=False)
    found = index_part(index, range(index.num_utterances), False)
    assert len(found.rows) == 0 and (found.rows_at == -1).all() and found.selected(0, 2, 9) is None


@pytest.mark.parametrize("size", [1, 5, 23])
def test_parts_make_the_whole(index, size):
    parts = [index_part(index, range(first, min(first + size, 24)), True) for first in range(0, 24, size)]
    same(joined(parts), whole(index))


@pytest.mark.parametrize("num_jobs", [1, 3])
def test_what_is_stored_is_what_was_computed_and_is_not_computed_again(index, monkeypatch, num_jobs):
    monkeypatch.setattr("sv_toolkit.training.index_store.PART", 7)
    folder, was_there = ensure_index(index, True, 0, no_progress, num_jobs=num_jobs)
    assert not was_there and folder == index_folder(index.path, True)
    same(load_index(folder, 24, 6), whole(index))
    assert ensure_index(index, True, 0, no_progress) == (folder, True)


def test_the_same_bytes_from_any_number_of_processes(index, monkeypatch):
    monkeypatch.setattr("sv_toolkit.training.index_store.PART", 5)
    contents = []
    for num_jobs in (1, 2):
        folder, _ = ensure_index(index, True, 0, no_progress, num_jobs=num_jobs)
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
        (folder / "index.manifest.json").unlink()
    assert contents[0] == contents[1]


@pytest.mark.parametrize("change", ["features", "decisions"])
def test_other_features_or_decisions_make_it_anew(data, index, change):
    ensure_index(index, True, 0, no_progress)
    name = {"features": "feats", "decisions": "vad"}[change]
    reader = ScpReader(data / f"{name}.scp")
    write_ark_scp(data, name, {key: 1 - reader.read(key) for key in reader.keys()})  # noqa: SIM118
    index = FeatureIndex(data, need_vad=True)
    folder, was_there = ensure_index(index, True, 0, no_progress)
    assert not was_there
    same(load_index(folder, 24, 6), whole(index))


def test_where_the_data_cannot_be_written_to_the_index_goes_elsewhere(index, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, _: path != index.path)
    folder, _ = ensure_index(index, True, 0, no_progress, tmp_path / "elsewhere")
    assert folder == tmp_path / "elsewhere" and not index_folder(index.path, True).exists()
    assert ensure_index(index, True, 0, no_progress, tmp_path / "elsewhere") == (folder, True)


def damage(data, *utterances):
    """Put infinite numbers into some utterances."""
    reader = ScpReader(data / "feats.scp")
    features = {key: reader.read(key) for key in reader.keys()}  # noqa: SIM118
    for utterance in utterances:
        features[utterance][3] = np.inf
    write_ark_scp(data, "feats", features)


def test_utterances_that_cannot_be_read_are_counted_named_and_refused_beyond_the_limit(data):
    damage(data, "s01-u1", "s04-u0")
    index = FeatureIndex(data, need_vad=True)
    with pytest.raises(TooManyBadError, match="2 utterances cannot be read .*s01-u1: features are not finite"):
        ensure_index(index, True, 1, no_progress)
    folder, _ = ensure_index(index, True, 2, no_progress)
    found = load_index(folder, 24, 6)
    assert sorted(found.bad) == [5, 16] and (found.num_frames[[5, 16]] == 0).all()


@pytest.mark.parametrize("name", [*(f"{name}.npy" for name in ARRAYS), "bad.json"])
def test_a_damaged_file_is_refused_with_the_way_out(index, name):
    folder, _ = ensure_index(index, True, 0, no_progress)
    (folder / name).write_bytes((folder / name).read_bytes()[:-3] + b"}" if name == "bad.json" else b"\x93NUMPY\x01")
    with pytest.raises(OutputError, match="the index is damaged .*delete this folder"):
        load_index(folder, 24, 6)


def test_an_index_of_other_utterances_is_refused(index):
    folder, _ = ensure_index(index, True, 0, no_progress)
    with pytest.raises(OutputError, match="the index is damaged"):
        load_index(folder, 25, 6)


def test_no_object_is_ever_read(index):
    folder, _ = ensure_index(index, True, 0, no_progress)
    np.save(folder / "mean.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(OutputError, match="the index is damaged"):
        load_index(folder, 24, 6)


def test_the_manifest_says_what_was_counted(index):
    folder, _ = ensure_index(index, True, 0, no_progress)
    counts = json.loads((folder / "index.manifest.json").read_text())["counts"]
    assert counts == {"utterances": 24, "bad": 0, "frames": int(whole(index).num_frames.sum())}


@pytest.mark.parametrize("count", [1, 3, 8])
def test_parts_joined_are_the_bytes_of_the_whole(index, monkeypatch, count):
    monkeypatch.setattr("sv_toolkit.training.index_store.PART", 5)
    folder, _ = ensure_index(index, True, 0, no_progress)
    whole_bytes = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "index.manifest.json").unlink()
    for number in range(count, 0, -1):
        write_index_part(index, True, Part(number, count), 1, lambda _: None)
    assert join_index(index, True, Join(count), 0) == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole_bytes
    assert not list(index.path.glob("*parts*"))
    assert join_index(index, True, Join(count), 0) == folder  # again: done


def test_a_missing_part_is_named_and_a_part_that_was_cut_short_goes_on(index, monkeypatch):
    monkeypatch.setattr("sv_toolkit.training.index_store.PART", 5)
    for number in (1, 3):
        write_index_part(index, True, Part(number, 3), 1, lambda _: None)
    with pytest.raises(OutputError, match="2 of 5 stretches of 5 utterances are missing; run --part 2/3 again"):
        join_index(index, True, Join(3), 0)
    ticks = []
    write_index_part(index, True, Part(1, 3), 1, ticks.append)
    assert ticks == []
    write_index_part(index, True, Part(2, 3), 1, ticks.append)
    assert sum(ticks) == 9
    same(load_index(join_index(index, True, Join(3), 0), 24, 6), whole(index))


def test_parts_of_other_features_are_not_joined(data, index, monkeypatch):
    for number in (1, 2):
        write_index_part(index, True, Part(number, 2), 1, lambda _: None)
    damage(data, "s01-u1")
    with pytest.raises(OutputError, match="are missing"):
        join_index(FeatureIndex(data, need_vad=True), True, Join(2), 1)
