"""What every back end of the registry promises, whatever it does."""

from __future__ import annotations

import functools
import operator

import numpy as np
import pytest

from sv_toolkit.backends.registry import BACKENDS, backend_entry
from sv_toolkit.backends.store import load_backend, save_backend
from sv_toolkit.config import as_table, build
from sv_toolkit.errors import ModelError, SvError


def labelled_scores(rng):
    """Scores of three systems, and which trials are targets."""
    is_target = rng.random(80) < 0.3
    return rng.normal(size=(80, 3)) + 0.5 * is_target[:, None], is_target


# What `fit` takes, for back ends that do not learn from vectors and their speakers: name -> function of a generator.
FIT_DATA = {"logistic-fusion": labelled_scores, "mean-variance-fusion": labelled_scores}

NAMES = sorted(BACKENDS)
FROM_VECTORS = [name for name in NAMES if name not in FIT_DATA]
OF_SPEAKERS = [name for name in FROM_VECTORS if BACKENDS[name][1].needs_speakers]
FROM_STATISTICS = [name for name in FROM_VECTORS if BACKENDS[name][1].is_additive]


def labelled_vectors(rng, num_speakers=12, dim=4):
    """Vectors of speakers with 2 to 9 utterances each, in no order, far from the origin."""
    counts = rng.integers(2, 10, size=num_speakers)
    speakers = rng.permutation(np.repeat([f"speaker-{number:02d}" for number in range(num_speakers)], counts))
    voices = dict(zip(np.unique(speakers), rng.normal(size=(num_speakers, dim))))
    spread = rng.normal(size=(dim, dim))
    return 5 + np.array([voices[speaker] for speaker in speakers]) + 0.4 * rng.normal(size=(len(speakers), dim)) @ spread, speakers


def data_for(name, rng):
    return FIT_DATA.get(name, labelled_vectors)(rng)


def make(name):
    config, backend = backend_entry(name)
    return backend(config())


def assert_same(one, other, rtol=1e-9):
    arrays, others = one.arrays(), other.arrays()
    assert arrays.keys() == others.keys()
    for key, array in arrays.items():
        np.testing.assert_allclose(array, others[key], rtol=rtol, atol=rtol * max(1.0, np.abs(array).max(initial=0)), err_msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_fit_returns_itself_and_leaves_its_inputs_alone(name, rng):
    data = data_for(name, rng)
    before = [array.copy() for array in data]
    backend = make(name)
    assert backend.fit(*data) is backend
    for array, copy in zip(data, before):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_learned_are_named_float64_arrays_without_holes(name, rng):
    for key, array in make(name).fit(*data_for(name, rng)).arrays().items():
        assert isinstance(key, str)
        assert array.dtype == np.float64
        assert np.isfinite(array).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_data_give_the_same_bits(name, rng):
    data = data_for(name, rng)
    assert_same(make(name).fit(*data), make(name).fit(*data), rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_utterances_does_not_matter(name, rng):
    data = data_for(name, rng)
    order = rng.permutation(len(data[0]))
    assert_same(make(name).fit(*data), make(name).fit(*(array[order] for array in data)))


@pytest.mark.parametrize("name", NAMES)
def test_float32_vectors_are_taken(name, rng):
    data = tuple(array.astype(np.float32) if array.dtype == np.float64 else array for array in data_for(name, rng))
    same = tuple(array.astype(np.float64) if array.dtype == np.float32 else array for array in data)
    assert_same(make(name).fit(*data), make(name).fit(*same))


@pytest.mark.parametrize("name", NAMES)
def test_what_was_learned_survives_a_round_trip_exactly(name, rng):
    config, backend = backend_entry(name)
    fitted = make(name).fit(*data_for(name, rng))
    again = backend(build(config, as_table(fitted.config), name))
    assert again.load_arrays(fitted.arrays()) is again
    assert_same(fitted, again, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_gives_back_what_was_stored_and_the_same_bytes(name, rng, tmp_path):
    fitted = make(name).fit(*data_for(name, rng))
    save_backend(tmp_path / "one", name, fitted, {"seed": 1})
    again, stored = load_backend(tmp_path / "one", name)
    assert (stored.backend, stored.provenance) == (name, {"seed": 1})
    assert_same(fitted, again, rtol=0)
    save_backend(tmp_path / "two", name, again, {"seed": 1})
    for file in ("backend.json", "backend.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["backend.json", "backend.safetensors"]


@pytest.mark.parametrize("name", NAMES)
def test_arrays_that_are_missing_unknown_or_not_finite_are_refused(name, rng):
    arrays = make(name).fit(*data_for(name, rng)).arrays()
    with pytest.raises(ModelError, match="unexpected"):
        make(name).load_arrays({**arrays, "other": np.zeros(1)})
    for key in arrays:
        with pytest.raises(ModelError, match="missing"):
            make(name).load_arrays({other: array for other, array in arrays.items() if other != key})
        with pytest.raises(ModelError, match="finite"):
            make(name).load_arrays({**arrays, key: np.full_like(arrays[key], np.nan)})


@pytest.mark.parametrize("name", NAMES)
def test_nothing_can_be_stored_before_it_is_learned(name, rng):
    backend = make(name)
    if make(name).fit(*data_for(name, rng)).arrays():  # length normalisation learns nothing
        with pytest.raises(ValueError, match="has not been fitted"):
            backend.arrays()


@pytest.mark.parametrize("name", NAMES)
def test_values_that_are_not_finite_are_refused_in_one_line(name, rng):
    vectors, *rest = data_for(name, rng)
    vectors = vectors.copy()
    vectors[3] = np.nan
    with pytest.raises((SvError, ValueError), match="finite|NaN") as caught:
        make(name).fit(vectors, *rest)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FROM_VECTORS)
def test_zero_vectors_are_refused_in_one_line(name, rng):
    vectors, speakers = data_for(name, rng)
    vectors[5] = 0
    with pytest.raises(SvError, match="row 5 of the vectors is zero") as caught:
        make(name).fit(vectors, speakers)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", OF_SPEAKERS)
def test_one_speaker_or_one_utterance_each_are_too_little(name, rng):
    vectors, speakers = data_for(name, rng)
    with pytest.raises(SvError, match="at least 2 speakers, got 1"):
        make(name).fit(vectors, np.full(len(vectors), "anna"))
    with pytest.raises(SvError, match="a speaker with at least 2 utterances"):
        make(name).fit(vectors, np.arange(len(vectors)).astype(str))


@pytest.mark.parametrize("name", FROM_VECTORS)
def test_what_speakers_are_called_does_not_matter(name, rng):
    vectors, speakers = data_for(name, rng)
    assert_same(make(name).fit(vectors, speakers), make(name).fit(vectors, [speaker[::-1] for speaker in speakers]))


@pytest.mark.parametrize("name", FROM_STATISTICS)
def test_statistics_of_shards_sum_to_those_of_the_whole(name, rng):
    """Also where the utterances of a speaker lie in several shards."""
    vectors, speakers = data_for(name, rng)
    shard = rng.integers(3, size=len(vectors))
    backend = make(name)
    parts = [backend.statistics(vectors[shard == number], speakers[shard == number]) for number in range(3)]
    assert_same(make(name).fit_statistics(functools.reduce(operator.add, parts)), make(name).fit(vectors, speakers))
