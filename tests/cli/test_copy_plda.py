"""sv-copy-plda: a back end to Kaldi's file and back, with the scores it had."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from sv_toolkit.backends.backend import Backend, BackendConfig
from sv_toolkit.backends.kaldi_plda import read_kaldi_plda
from sv_toolkit.backends.store import load_backend, save_backend
from sv_toolkit.cli.copy_plda import command as copy


def run(*arguments):
    return CliRunner().invoke(copy, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path, rng):
    vectors, speakers = rng.normal(size=(90, 4)), np.repeat([f"s{i}" for i in range(15)], 6)
    vectors += np.repeat(rng.normal(size=(15, 4)), 6, axis=0)
    config = BackendConfig(center=False, lda_dim=0, length_norm="none")
    save_backend(tmp_path / "backend", "embedding-backend", Backend(config).fit(vectors, speakers), {})
    return tmp_path


def scores(folder, rng):
    backend, _ = load_backend(folder)
    enroll, test = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    rows = np.arange(5)
    return backend.score(backend.transform(enroll), rows + 1, backend.transform(test), rows, rows)


@pytest.mark.parametrize("form", [[], ["--text"]], ids=["binary", "text"])
def test_scores_survive_kaldis_file(folder, form):
    result = run(folder / "backend", folder / "new" / "plda", *form)
    assert result.exit_code == 0, result.output
    assert ((folder / "new" / "plda").read_bytes()[:2] == b"\0B") == (not form)
    result = run(folder / "new" / "plda", folder / "again")
    assert result.exit_code == 0, result.output
    before, after = (scores(folder / name, np.random.default_rng(1)) for name in ("backend", "again"))
    np.testing.assert_allclose(before, after, atol=1e-9)


def test_kaldis_length_normalisation_can_be_asked_for(folder):
    run(folder / "backend", folder / "plda")
    assert run(folder / "plda", folder / "again", "--plda-length", "model").exit_code == 0
    model, (enroll, test) = read_kaldi_plda(folder / "plda"), np.random.default_rng(1).normal(size=(2, 5, 4))
    rows = np.arange(5)
    counts = rows + 1
    expected = model.llr(model.project(enroll, counts, "model"), counts, model.project(test, 1, "model"), rows, rows)
    np.testing.assert_allclose(scores(folder / "again", np.random.default_rng(1)), expected, atol=1e-8)


def test_a_length_that_kaldis_file_cannot_hold_is_told(folder, rng):
    backend = Backend(BackendConfig(plda_length="model", lda_dim=0)).fit(rng.normal(size=(40, 4)) + np.repeat(rng.normal(size=(10, 4)), 4, axis=0), np.repeat(np.arange(10), 4))  # fmt: skip
    save_backend(folder / "long", "embedding-backend", backend, {})
    result = run(folder / "long", folder / "plda")
    assert "PLDA of 4 dimensions with projected vectors of length 'model'" in result.stderr
    assert "give --plda-length model to read it back" in result.stderr


def test_options_of_the_other_direction_are_refused(folder):
    run(folder / "backend", folder / "plda")
    for source, option in (("backend", ("--plda-length", "model")), ("plda", ("--text",))):
        result = run(folder / source, folder / "new", *option)
        assert result.exit_code == 2 and option[0] in result.stderr


def test_nothing_is_replaced_unless_asked_for(folder):
    run(folder / "backend", folder / "plda")
    for source, out in (("backend", "plda"), ("plda", "backend")):
        result = run(folder / source, folder / out)
        assert result.exit_code == 1
        assert "is there already" in result.stderr
    assert run(folder / "backend", folder / "plda", "--overwrite").exit_code == 0


def test_what_holds_no_plda_model_is_refused_in_one_line(folder, rng):
    save_backend(folder / "cosine", "embedding-backend", Backend(BackendConfig(plda="none", lda_dim=0)).fit(rng.normal(size=(9, 4))), {})
    (folder / "junk").write_bytes(b"\0B<Plda> DV \4\xff\xff\xff\x7f")
    for source, message in (("cosine", "has no PLDA model"), ("junk", "truncated"), ("none", "no such file")):
        result = run(folder / source, folder / "out")
        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
        assert message in result.stderr
        assert not (folder / "out").exists()
