"""sv-normalize-scores: the library's numbers, where they go, and what is warned of and refused."""

from __future__ import annotations

import click
import numpy as np
import pytest
from click.testing import CliRunner

from sv_toolkit.backends.score_norm import METHODS, Side
from sv_toolkit.cli.normalize_scores import command as normalize
from sv_toolkit.cli.score import command as score
from sv_toolkit.io.archives import write_ark_scp

IDS = [f"s{speaker}-u{number}" for speaker in range(6) for number in range(3)]
PAIRS = [(a, b) for i, a in enumerate(IDS) for b in IDS[i + 1 :]]
COHORT = [f"c{number:02d}" for number in range(40)]


@pytest.fixture
def vectors(rng):
    return dict(zip(IDS, rng.normal(size=(18, 8)).astype(np.float32)))


@pytest.fixture
def cohort(rng):
    return dict(zip(COHORT, rng.normal(size=(40, 8)).astype(np.float32)))


@pytest.fixture
def folder(tmp_path, vectors, cohort):
    (tmp_path / "trials").write_text("".join(f"{a} {b} {'target' if a[:2] == b[:2] else 'nontarget'}\n" for a, b in PAIRS))
    write_ark_scp(tmp_path, "dvector", vectors)
    write_ark_scp(tmp_path, "cohort", cohort)
    (tmp_path / "cohort_utt2spk").write_text("".join(f"{key} p{int(key[1:]) // 2:02d}\n" for key in COHORT))
    (tmp_path / "utt2spk").write_text("".join(f"{key} {key[:2]}\n" for key in IDS))
    assert run(tmp_path / "trials", "-o", tmp_path / "scores", command=score).exit_code == 0
    return tmp_path


def run(*arguments, command=normalize):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def normalized(folder, *more):
    return run(folder / "trials", folder / "scores", "--cohort", folder / "cohort.scp", *more)


def numbers(text):
    return np.array([float(line.split()[2]) for line in text.splitlines()])


def expected(folder, vectors, cohort, method, **options):
    index = {key: row for row, key in enumerate(IDS)}
    matrix = np.stack(list(vectors.values()))
    sides = (Side(matrix, np.array([index[pair[side]] for pair in PAIRS])) for side in (0, 1))
    return METHODS[method](numbers((folder / "scores").read_text()), *sides, cohort, **options)


@pytest.mark.parametrize("method", METHODS)
def test_scores_are_those_of_the_library(folder, vectors, cohort, method):
    options = {"top": 10} if method.startswith("as") else {}
    result = normalized(folder, "--method", method, "--top", 10)
    assert result.exit_code == 0, result.stderr
    np.testing.assert_allclose(
        numbers(result.stdout), expected(folder, vectors, np.stack(list(cohort.values())), method, **options), atol=1e-6
    )
    assert [tuple(line.split()[:2]) for line in result.stdout.splitlines()] == PAIRS
    assert "EER" in result.stderr


def test_speakers_of_the_cohort_count_once(folder, vectors, cohort):
    unit = np.stack([vector / np.linalg.norm(vector) for vector in cohort.values()])
    means = unit.reshape(20, 2, 8).mean(axis=1)
    result = normalized(folder, "--cohort-utt2spk", folder / "cohort_utt2spk", "--top", 5)
    np.testing.assert_allclose(numbers(result.stdout), expected(folder, vectors, means, "as-norm", top=5), atol=2e-5)


def test_a_file_takes_the_scores_and_stdout_the_eer(folder):
    result = normalized(folder, "--top", 10, "-o", folder / "new" / "scores")
    assert result.stdout.startswith("EER ")
    assert (folder / "new" / "scores").read_text() == normalized(folder, "--top", 10).stdout


def test_models_are_averaged_first(folder):
    (folder / "models").write_text("".join(f"m{s} s{s}-u0 s{s}-u1\n" for s in range(6)))
    (folder / "trials").write_text("".join(f"m{a} s{b}-u2 {'target' if a == b else 'nontarget'}\n" for a in range(6) for b in range(6)))
    enroll = "--enroll-spk2utt", folder / "models"
    assert run(folder / "trials", *enroll, "-o", folder / "scores", command=score).exit_code == 0
    assert normalized(folder, *enroll).exit_code == 0
    assert "--enroll-spk2utt" in normalized(folder).stderr


def test_a_small_cohort_is_used_whole_and_said_to_be_small(folder):
    result = normalized(folder)
    assert "warning" in result.stderr
    assert "a cohort of 40 has no nearest 300" in result.stderr
    np.testing.assert_array_equal(numbers(result.stdout), numbers(normalized(folder, "--method", "s-norm").stdout))


def test_utterances_and_speakers_of_the_trials_in_the_cohort_are_warned_of(folder, vectors, cohort):
    assert "of the cohort are in the trials" not in normalized(folder, "--cohort-utt2spk", folder / "cohort_utt2spk").stderr
    write_ark_scp(folder, "cohort", {**cohort, "s1-u0": vectors["s1-u0"]})
    with (folder / "cohort_utt2spk").open("a") as stream:
        stream.write("s1-u0 s1\n")
    result = normalized(folder, "--cohort-utt2spk", folder / "cohort_utt2spk")
    assert result.exit_code == 0
    assert "1 of 41 utterances of the cohort are in the trials, too: s1-u0" in result.stderr
    assert "1 of 21 speakers of the cohort are in the trials, too: s1" in result.stderr


def test_scores_that_are_not_the_cosines_of_these_embeddings_are_refused(folder, vectors):
    lines = (folder / "scores").read_text().splitlines()
    (folder / "scores").write_text("".join(f"{line}\n" for line in [*lines[:-1], f"{PAIRS[-1][0]} {PAIRS[-1][1]} 0.999"]))
    result = normalized(folder, "-o", folder / "out")
    assert (result.exit_code, (folder / "out").exists()) == (1, False)
    assert f"1 of 153 scores are not the cosines of these embeddings, the first: {' '.join(PAIRS[-1])}" in result.stderr
    rounded = [" ".join([*line.split()[:2], f"{float(line.split()[2]):.3f}"]) for line in lines]
    (folder / "scores").write_text("".join(f"{line}\n" for line in rounded))
    assert normalized(folder).exit_code == 0


def test_a_cohort_of_another_dimension_is_refused(folder):
    write_ark_scp(folder, "cohort", {key: np.ones(4, np.float32) for key in COHORT})
    result = normalized(folder)
    assert (result.exit_code, "has 4" in result.stderr) == (1, True)


def test_methods_are_those_of_the_library():
    (choices,) = [option.type.choices for option in normalize.params if option.name == "method" and isinstance(option.type, click.Choice)]
    assert list(choices) == list(METHODS)
