"""sv-train-backend, sv-adapt-backend and sv-score --backend on archives of simulated embeddings."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from sv_toolkit.backends.store import load_backend
from sv_toolkit.cli.adapt_backend import command as adapt
from sv_toolkit.cli.enroll import command as enroll
from sv_toolkit.cli.score import command as score
from sv_toolkit.cli.train_backend import command as train
from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.io.manifest import Manifest, describe_file, write_manifest
from sv_toolkit.io.tables import write_table

DIM = 8
SPREAD = np.diag([3.0, 3, 1, 1, 1, 1, 0.5, 0.5])


def embeddings(rng, folder, prefix, num_speakers, per_speaker=5, model=None):
    """An archive of simulated embeddings and their utt2spk."""
    folder.mkdir()
    speakers = [f"{prefix}{s:03d}" for s in range(num_speakers)]
    voices = 2 + rng.normal(size=(num_speakers, DIM))
    vectors = {
        f"{speaker}-u{number}": (voice + rng.normal(size=DIM) @ SPREAD).astype(np.float32)
        for speaker, voice in zip(speakers, voices)
        for number in range(per_speaker)
    }
    scp = write_ark_scp(folder, "dvector", vectors)
    write_table(folder / "utt2spk", {key: key.split("-")[0] for key in vectors})
    if model is not None:
        write_manifest(folder, Manifest("dvector", {"model": model}, {}, {scp.name: describe_file(scp)}))
    return vectors


@pytest.fixture
def corpus(rng, tmp_path):
    """Training speakers, and test speakers with a trial list, whole and by models of three utterances."""
    embeddings(rng, tmp_path / "train", "a", 60, model="net1")
    test = embeddings(rng, tmp_path / "test", "b", 15, model="net1")
    ids = list(test)
    lines = [f"{x} {y} {'target' if x[:4] == y[:4] else 'nontarget'}\n" for i, x in enumerate(ids) for y in ids[i + 1 :]]
    (tmp_path / "test" / "trials").write_text("".join(lines))
    speakers = sorted({key[:4] for key in ids})
    (tmp_path / "test" / "spk2utt").write_text("".join(f"m-{s} {s}-u0 {s}-u1 {s}-u2\n" for s in speakers))
    lines = [f"m-{s} {t}-u{n} {'target' if s == t else 'nontarget'}\n" for s in speakers for t in speakers for n in (3, 4)]
    (tmp_path / "test" / "model_trials").write_text("".join(lines))
    return tmp_path


def run(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def train_on(corpus, *options, out="backend"):
    return run(train, corpus / "train/dvector.scp", corpus / "train", corpus / out, *options)


def eer(result):
    assert result.exit_code == 0, result.output
    return float(result.stderr.split("EER ")[1].split()[0])


def scores_of(result):
    assert result.exit_code == 0, result.output
    return {tuple(line.split()[:2]): float(line.split()[2]) for line in result.stdout.splitlines()}


@pytest.mark.parametrize("plda", ["two-covariance", "simplified", "none"])
def test_a_back_end_scores_new_speakers_better_than_the_cosine(corpus, plda):
    trained = train_on(corpus, "--plda", plda)
    assert trained.exit_code == 0, trained.output
    assert "center, lda to 8, length-norm" in trained.stderr
    cosine = eer(run(score, corpus / "test/trials"))
    assert eer(run(score, corpus / "test/trials", "--backend", corpus / "backend")) < 0.9 * cosine


def test_models_are_scored_by_all_their_utterances(corpus):
    """The posterior given three utterances is neither the averaged score nor that of one."""
    train_on(corpus)
    arguments = ["--backend", corpus / "backend", "--enroll-spk2utt", corpus / "test/spk2utt", "--test", corpus / "test/dvector.scp"]
    by_the_book = scores_of(run(score, corpus / "test/model_trials", *arguments))
    averaged = scores_of(run(score, corpus / "test/model_trials", *arguments, "--average-enrollment"))
    backend, _ = load_backend(corpus / "backend")
    from sv_toolkit.embeddings.loading import read_embeddings

    test = read_embeddings(corpus / "test/dvector.scp")
    u = backend.transform(test.vectors[test.rows(["b003-u0", "b003-u1", "b003-u2"])])
    t = backend.transform(test.vectors[test.rows(["b007-u4"])])[0]
    within, between = backend.plda.covariances()

    def density(vectors):
        n, dim = vectors.shape
        covariance = np.kron(np.ones((n, n)), between) + np.kron(np.eye(n), within)
        offset = (vectors - backend.plda.mean_).ravel()
        return -0.5 * (np.linalg.slogdet(2 * np.pi * covariance)[1] + offset @ np.linalg.solve(covariance, offset))

    for enrolled, found in ((u, by_the_book), (u.mean(axis=0, keepdims=True), averaged)):
        expected = density(np.vstack([enrolled, t])) - density(enrolled) - density(t[None])
        assert found["m-b003", "b007-u4"] == pytest.approx(expected, abs=1e-6)
    assert by_the_book.keys() == averaged.keys()


def test_averages_of_sv_enroll_are_scored_as_single_utterances_aloud(corpus):
    train_on(corpus)
    assert run(enroll, corpus / "test/dvector.scp", corpus / "test/spk2utt", corpus / "models").exit_code == 0
    arguments = ["--enroll", corpus / "models/dvector.scp", "--test", corpus / "test/dvector.scp", "--backend", corpus / "backend"]
    result = run(score, corpus / "test/model_trials", *arguments)
    assert result.exit_code == 0
    assert "averages made by sv-enroll are scored as single utterances" in result.stderr


def test_cosines_of_models_are_those_of_means_of_unit_vectors(corpus):
    """A back end without any step is sv-score without a back end."""
    train_on(corpus, "--no-center", "--lda-dim", 0, "--length-norm", "none", "--plda", "none")
    arguments = [corpus / "test/model_trials", "--enroll-spk2utt", corpus / "test/spk2utt", "--test", corpus / "test/dvector.scp"]
    plain, same = scores_of(run(score, *arguments)), scores_of(run(score, *arguments, "--backend", corpus / "backend"))
    assert plain.keys() == same.keys()
    np.testing.assert_allclose(list(plain.values()), list(same.values()), atol=2e-6)


def test_a_second_run_does_nothing_and_another_is_refused(corpus):
    train_on(corpus)
    before = {path.name: path.read_bytes() for path in (corpus / "backend").iterdir()}
    again = train_on(corpus)
    assert again.exit_code == 0
    assert "already there; nothing to do" in again.stderr
    other = train_on(corpus, "--lda-dim", 3)
    assert other.exit_code == 1
    assert "holds another back end" in other.stderr
    assert {path.name: path.read_bytes() for path in (corpus / "backend").iterdir()} == before
    assert train_on(corpus, "--lda-dim", 3, "--overwrite").exit_code == 0
    assert json.loads((corpus / "backend/backend.json").read_text())["config"]["lda_dim"] == 3


def test_a_run_that_was_cut_short_is_finished(corpus):
    train_on(corpus)
    before = (corpus / "backend/backend.safetensors").read_bytes()
    (corpus / "backend/backend.json").unlink()
    assert train_on(corpus).exit_code == 0
    assert (corpus / "backend/backend.safetensors").read_bytes() == before
    assert (corpus / "backend/backend.json").exists()


def test_options_come_from_a_file_and_the_command_line_goes_first(corpus):
    (corpus / "backend.toml").write_text('whiten = "pca"\nlda_dim = 4\nplda = "simplified"\nspeaker_dim = 3\n')
    result = train_on(corpus, "--config", corpus / "backend.toml", "--lda-dim", 5)
    assert result.exit_code == 0, result.output
    assert "center, whiten to 8, lda to 5, length-norm, simplified PLDA of 5 dimensions" in result.stderr
    (corpus / "wrong.toml").write_text("lda_dims = 4\n")
    result = train_on(corpus, "--config", corpus / "wrong.toml", out="other")
    assert result.exit_code == 1
    assert "wrong.toml: unknown key 'lda_dims', did you mean 'lda_dim'?" in result.stderr
    assert not (corpus / "other").exists()


def test_labels_may_be_a_file_and_must_cover_the_embeddings(corpus):
    result = run(train, corpus / "train/dvector.scp", corpus / "train/utt2spk", corpus / "backend")
    assert result.exit_code == 0, result.output
    result = run(train, corpus / "train/dvector.scp", corpus / "test", corpus / "other")
    assert result.exit_code == 1
    assert "has no speaker for 300 of 300 embeddings" in result.stderr
    lines = (corpus / "train/utt2spk").read_text() + "z-u0 z\n"
    (corpus / "more").write_text(lines)
    result = run(train, corpus / "train/dvector.scp", corpus / "more", corpus / "other")
    assert result.exit_code == 0
    assert "1 of 301 utterances have no embedding and are left out: z-u0" in result.stderr


@pytest.mark.parametrize(
    ("speaker", "message"),
    [(lambda key: "anna", "at least 2 speakers, got 1"), (lambda key: key, "a speaker with at least 2 utterances")],
    ids=["one speaker", "one utterance each"],
)
def test_too_little_to_learn_from_is_refused_in_one_line(corpus, speaker, message):
    keys = [line.split()[0] for line in (corpus / "train/utt2spk").read_text().splitlines()]
    write_table(corpus / "labels", {key: speaker(key) for key in keys})
    result = run(train, corpus / "train/dvector.scp", corpus / "labels", corpus / "backend")
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (corpus / "backend").exists()


def test_a_back_end_is_adapted_without_labels_and_scores(corpus, rng):
    train_on(corpus)
    embeddings(rng, corpus / "new", "c", 40)
    out = corpus / "adapted"
    result = run(adapt, corpus / "backend", corpus / "new/dvector.scp", out, "--recenter")
    assert result.exit_code == 0, result.output
    assert "already there" in run(adapt, corpus / "backend", corpus / "new/dvector.scp", out, "--recenter").stderr
    one, other = (run(score, corpus / "test/trials", "--backend", folder) for folder in (corpus / "backend", out))
    assert scores_of(one) != scores_of(other)
    assert eer(other) < 1.2 * eer(one)
    refused = run(adapt, corpus / "backend", corpus / "new/dvector.scp", out, "--within-covar-scale", -1, "--overwrite")
    assert refused.exit_code == 1
    assert "within_covar_scale must be a finite number from 0 on" in refused.stderr


def test_embeddings_of_another_model_or_dimension_are_refused(corpus, rng):
    train_on(corpus)
    embeddings(rng, corpus / "foreign", "b", 15, model="net2")
    result = run(score, corpus / "test/trials", "--test", corpus / "foreign/dvector.scp", "--backend", corpus / "backend")
    assert result.exit_code == 1
    assert "trained on embeddings of the model net1" in result.stderr
    assert "net2" in result.stderr
    (corpus / "short").mkdir()
    scp = write_ark_scp(corpus / "short", "dvector", {"b000-u0": np.ones(3, np.float32)})
    result = run(score, corpus / "test/trials", "--test", scp, "--backend", corpus / "backend", "--allow-missing")
    assert result.exit_code == 1
    assert "takes embeddings of 8 dimensions" in result.stderr


def test_missing_embeddings_are_refused_or_left_out_aloud(corpus):
    train_on(corpus)
    lines = (corpus / "test/spk2utt").read_text().replace("b003-u1", "lost-u1")
    (corpus / "test/spk2utt").write_text(lines)
    arguments = [corpus / "test/model_trials", "--enroll-spk2utt", corpus / "test/spk2utt", "--backend", corpus / "backend"]
    refused = run(score, *arguments)
    assert refused.exit_code == 1
    assert "lost-u1, of the model m-b003, has no embedding" in refused.stderr
    assert len(scores_of(run(score, *arguments, "--allow-missing"))) == 15 * 30


def test_a_folder_that_is_no_back_end_is_refused(corpus):
    for folder, message in ((corpus / "train", "is not a back end"), (corpus / "none", "no such folder")):
        result = run(score, corpus / "test/trials", "--backend", folder)
        assert result.exit_code == 1
        assert message in result.stderr


def test_averaging_models_needs_models_and_a_back_end(corpus):
    result = run(score, corpus / "test/trials", "--average-enrollment")
    assert result.exit_code == 2
    assert "--average-enrollment needs --backend" in result.stderr
