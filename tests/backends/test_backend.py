"""The whole back end: it does what its parts do, tells speakers apart better than the cosine alone, and adapts."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.backends.backend import Backend, BackendConfig
from sv_toolkit.backends.cosine import cosine_scores
from sv_toolkit.backends.plda import TwoCovariancePlda
from sv_toolkit.backends.transforms import Center, Lda, LdaConfig, LengthNorm, LengthNormConfig
from sv_toolkit.errors import ConfigError, DataError, ModelError
from sv_toolkit.metrics.detection import equal_error_rate

DIM = 8


def speech(rng, num_speakers, per_speaker=6, nuisance=4.0):
    """Vectors whose directions of most variance are those that say nothing about the speaker."""
    speakers = np.repeat(np.arange(num_speakers), per_speaker)
    spread = np.diag([nuisance, nuisance, 1, 1, 1, 1, 0.5, 0.5])
    return 2 + rng.normal(size=(num_speakers, DIM))[speakers] + rng.normal(size=(len(speakers), DIM)) @ spread, speakers.astype(str)


def all_pairs(count):
    return np.triu_indices(count, 1)


def eer(backend, vectors, speakers):
    rows, columns = all_pairs(len(vectors))
    transformed = backend.transform(vectors)
    scores = backend.score(transformed, np.ones(len(vectors)), transformed, rows, columns)
    same = speakers[rows] == speakers[columns]
    return equal_error_rate(scores[same], scores[~same])


def test_scores_are_those_of_the_parts(rng):
    vectors, speakers = speech(rng, 30)
    backend = Backend(BackendConfig(lda_dim=4)).fit(vectors, speakers)
    center = Center().fit(vectors)
    lda = Lda(LdaConfig(4)).fit(center.transform(vectors), speakers)
    norm = LengthNorm(LengthNormConfig("sqrt-dim"))
    transformed = norm.transform(lda.transform(center.transform(vectors)))
    np.testing.assert_allclose(backend.transform(vectors), transformed, atol=1e-12)
    model = TwoCovariancePlda().fit(transformed, speakers).diagonal
    rows, columns = all_pairs(9)
    ones = np.ones(len(vectors))
    projected = model.project(transformed)
    scores = backend.score(transformed, ones, transformed, rows, columns)
    np.testing.assert_allclose(scores, model.llr(projected, ones, projected, rows, columns), atol=1e-9)


@pytest.mark.parametrize("plda", ["two-covariance", "simplified", "none"])
def test_a_trained_back_end_tells_new_speakers_apart_better_than_the_cosine(rng, plda):
    backend = Backend(BackendConfig(plda=plda)).fit(*speech(rng, 150))
    vectors, speakers = speech(rng, 40)
    rows, columns = all_pairs(len(vectors))
    plain, same = cosine_scores(vectors, vectors, rows, columns), speakers[rows] == speakers[columns]
    assert eer(backend, vectors, speakers) < 0.8 * equal_error_rate(plain[same], plain[~same])


def test_without_any_step_scores_are_cosines(rng):
    config = BackendConfig(center=False, lda_dim=0, length_norm="none", plda="none")
    vectors, _ = speech(rng, 5)
    backend = Backend(config).fit(vectors)
    rows, columns = all_pairs(len(vectors))
    transformed = backend.transform(vectors)
    scores = backend.score(transformed, np.ones(len(vectors)), transformed, rows, columns)
    np.testing.assert_allclose(scores, cosine_scores(vectors, vectors, rows, columns), atol=1e-6)


def test_enrollment_is_the_mean_over_the_utterances_of_each_model(rng):
    vectors, speakers = speech(rng, 20)
    backend = Backend().fit(vectors, speakers)
    transformed = backend.transform(vectors)
    means = backend.enroll(transformed, np.array([4, 1, 2, 7]), np.array([1, 3]))
    np.testing.assert_allclose(means, [transformed[4], transformed[[1, 2, 7]].mean(axis=0)], rtol=1e-12)


def test_adaptation_moves_the_model_to_another_domain(rng):
    """Another place and more noise; labels of the new domain are not used."""
    backend = Backend(BackendConfig(lda_dim=0, length_norm="none")).fit(*speech(rng, 150))
    change = np.diag([1, 1, 1, 1, 1, 1, 8, 8])
    moved, _ = speech(rng, 150)
    vectors, speakers = speech(rng, 60)
    moved, vectors = moved @ change + 3, vectors @ change + 3
    adapted = backend.adapted(moved)
    assert eer(adapted, vectors, speakers) < 0.95 * eer(backend, vectors, speakers)
    np.testing.assert_allclose(adapted.arrays()["transforms.0.mean"], backend.arrays()["transforms.0.mean"])
    recentered = backend.adapted(moved, recenter=True)
    np.testing.assert_allclose(recentered.arrays()["transforms.0.mean"], moved.mean(axis=0))


def test_an_adapted_simplified_model_is_stored_with_two_covariances(rng):
    vectors, speakers = speech(rng, 40)
    backend = Backend(BackendConfig(plda="simplified", speaker_dim=3)).fit(vectors, speakers)
    adapted = backend.adapted(3 * vectors)
    assert adapted.config.plda == "two-covariance"
    assert "plda.between_covariance" in adapted.arrays()


def test_adapting_what_cannot_be_adapted_is_refused(rng):
    vectors, speakers = speech(rng, 20)
    with pytest.raises(DataError, match="no PLDA model to adapt"):
        Backend(BackendConfig(plda="none")).fit(vectors, speakers).adapted(vectors)
    with pytest.raises(DataError, match="subtracts no mean"):
        Backend(BackendConfig(center=False)).fit(vectors, speakers).adapted(vectors, recenter=True)


def test_parts_of_two_back_ends_do_not_fit_together(rng):
    vectors, speakers = speech(rng, 20)
    one, other = (Backend(BackendConfig(lda_dim=dim)).fit(vectors, speakers).arrays() for dim in (3, 4))
    mixed = {name: (one if name.startswith("plda") else other)[name] for name in one}
    with pytest.raises(ModelError, match="TwoCovariancePlda takes 3 dimensions, it gets 4"):
        Backend(BackendConfig(lda_dim=4)).load_arrays(mixed)


def test_the_summary_names_every_step(rng):
    backend = Backend(BackendConfig(whiten="zca", lda_dim=5)).fit(*speech(rng, 20))
    assert backend.summary() == "center, whiten to 8, lda to 5, length-norm, two-covariance PLDA of 5 dimensions"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"plda": "heavy-tailed"}, "plda is one of two-covariance, simplified, none, got 'heavy-tailed'"),
        ({"length_norm": "one"}, "length_norm is one of none, unit, sqrt-dim"),
        ({"lda_dim": -1}, "cannot be negative, got -1"),
        ({"speaker_dim": 5}, "for simplified PLDA only"),
        ({"plda_iterations": -1}, "cannot be negative, got -1"),
    ],
)
def test_options_without_meaning_are_refused(options, match):
    with pytest.raises(ConfigError, match=match):
        BackendConfig(**options)
