"""sv-fuse: joining by the pair, learning, applying, embeddings, and what is refused."""

from __future__ import annotations

import click
import numpy as np
import pytest
from click.testing import CliRunner

from sv_toolkit.backends.calibration import DEFAULT_PRIOR
from sv_toolkit.backends.fusion import METHODS, fit_mean_variance, read_fusion
from sv_toolkit.backends.logistic import fit_llr
from sv_toolkit.cli.fuse import command as fuse
from sv_toolkit.io.archives import read_vectors, write_ark_scp

IDS = [f"s{speaker:02d}-u{number}" for speaker in range(12) for number in range(3)]
PAIRS = [(a, b) for i, a in enumerate(IDS) for b in IDS[i + 1 :]]
IS_TARGET = np.array([a[:3] == b[:3] for a, b in PAIRS])


@pytest.fixture
def values(rng):
    return np.column_stack([rng.normal(1.2 * IS_TARGET), 20 * rng.normal(1.5 * IS_TARGET)]).round(5)


@pytest.fixture
def folder(tmp_path, values, rng):
    (tmp_path / "trials").write_text("".join(f"{a} {b} {'target' if same else 'nontarget'}\n" for (a, b), same in zip(PAIRS, IS_TARGET)))
    for name, column in zip("ab", values.T):
        lines = [f"{a} {b} {value}\n" for (a, b), value in zip(PAIRS, column)]
        (tmp_path / name).write_text("".join(lines if name == "a" else rng.permutation(lines)))
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(fuse, [str(argument) for argument in arguments])


def both(folder, *more):
    return run("--scores", folder / "a", "--scores", folder / "b", *more)


def read(text):
    return {tuple(line.split()[:2]): float(line.split()[2]) for line in text.splitlines()}


def test_logistic_weights_are_learned_kept_and_used(folder, values):
    result = both(folder, "--weights-from", folder / "trials", "-o", folder / "new" / "fused")
    assert result.exit_code == 0, result.stderr
    weights, offset = fit_llr(values, IS_TARGET, DEFAULT_PRIOR)
    fused = read((folder / "new" / "fused").read_text())
    assert list(fused) == PAIRS
    np.testing.assert_allclose(list(fused.values()), values @ weights + offset, atol=1e-6)
    assert read_fusion(folder / "new" / "fused.fusion.json").list.num_targets == 36
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["weight", "weight"]
    assert float(lines[-1].split()[2]) < min(float(line.split()[2]) for line in lines[-3:-1])  # min Cllr of the fused scores


def test_weights_are_applied_to_other_lists_without_labels(folder):
    both(folder, "--weights-from", folder / "trials", "--save", folder / "f.json", "-o", folder / "fused")
    assert not (folder / "fused.fusion.json").exists()
    for name in "ab":
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(line for line in lines if line.startswith("s00")))
    applied = read(both(folder, "--apply", folder / "f.json").stdout)
    whole = read((folder / "fused").read_text())
    assert applied == {pair: whole[pair] for pair in PAIRS if pair[0].startswith("s00")}


def test_fused_scores_that_tell_all_trials_apart_are_a_guess_and_said_so(folder):
    pairs = [f"e{place} t" for place in range(8)]
    (folder / "trials").write_text("".join(f"{pair} {'non' * (place % 2)}target\n" for place, pair in enumerate(pairs)))
    for name, step in (("a", 1.0), ("b", 2.0)):
        (folder / name).write_text(
            "".join(f"{pair} {step * (place % 2 == 0) + 0.01 * place**step:g}\n" for place, pair in enumerate(pairs))
        )
    result = both(folder, "--weights-from", folder / "trials", "-o", folder / "fused")
    assert result.exit_code == 0 and "tell all targets from all nontargets" in result.stderr
    assert np.isfinite(list(read((folder / "fused").read_text()).values())).all()


def test_mean_variance_needs_no_labels(folder, values):
    result = both(folder, "--method", "mean-variance")
    assert result.exit_code == 0, result.stderr
    expected = fit_mean_variance(values, ["a", "b"]).fuse(values)
    np.testing.assert_allclose([read(result.stdout)[pair] for pair in PAIRS], expected, atol=1e-6)


def test_files_keep_their_own_names_and_the_other_order_is_told(folder):
    both(folder, "--weights-from", folder / "trials", "--save", folder / "f.json", "-o", folder / "fused")
    right = both(folder, "--apply", folder / "f.json", "--weights-from", folder / "trials", "-o", folder / "x")
    assert right.exit_code == 0 and "another order" not in right.stderr
    swapped = run("--scores", folder / "b", "--scores", folder / "a", "--apply", folder / "f.json", "--weights-from", folder / "trials", "-o", folder / "x")  # fmt: skip
    assert "look like another order than that of the fit" in swapped.stderr
    first, again = right.stdout.splitlines(), swapped.stdout.splitlines()
    assert again[0] == first[0].replace(str(folder / "a"), str(folder / "b")) + f", learned for {folder / 'a'}"
    assert [again[4], again[3]] == first[3:5]  # the costs of a file are its own, whatever place it has


def test_a_system_may_be_called_as_the_result_and_come_twice(folder):
    (folder / "fused").write_text((folder / "a").read_text())
    result = run("--scores", folder / "fused", "--scores", folder / "fused", "--scores", folder / "b", "--method", "mean-variance", "--weights-from", folder / "trials", "-o", folder / "x")  # fmt: skip
    rows = [line.split() for line in result.stdout.splitlines()[4:]]
    assert [row[0] for row in rows] == [str(folder / "fused")] * 2 + [str(folder / "b"), "fused"]
    assert rows[0] == rows[1] != rows[3]


@pytest.mark.parametrize("option", [("--method", "mean-variance"), ("--prior", 0.1), ("--save", "x.json")], ids=str)
def test_what_belongs_to_a_fit_is_refused_where_none_is_made(folder, option):
    both(folder, "--weights-from", folder / "trials", "--save", folder / "f.json", "-o", folder / "fused")
    result = both(folder, "--apply", folder / "f.json", *option)
    assert result.exit_code == 2 and f"{option[0]} belongs to a fit" in result.stderr


def test_options_of_scores_are_refused_with_embeddings(folder):
    result = run("--embeddings", "a.scp", "--embeddings", "b.scp", "-o", folder / "out", "--weights-from", folder / "trials")
    assert result.exit_code == 2 and "--weights-from belongs to --scores" in result.stderr


@pytest.mark.parametrize("more", [("--method", "mean-variance"), ("--weights-from", "trials")], ids=["pairs of a file", "pairs of a list"])
def test_pairs_that_one_system_lacks_are_counted_and_named(folder, more):
    lines = (folder / "b").read_text().splitlines(keepends=True)
    (folder / "b").write_text("".join(line for line in lines if not line.startswith("s00-u0 ")))
    result = both(folder, *(folder / word if word == "trials" else word for word in more), "-o", folder / "out")
    assert result.exit_code == 1
    assert "scores are missing for 35 of 630 trials, the first: s00-u0 s00-u1" in result.stderr
    assert not (folder / "out").exists()
    (folder / "b").write_text("".join([*lines, "x y 1\n"]))
    extra = both(folder, *(folder / word if word == "trials" else word for word in more))
    assert (extra.exit_code, "1 of 631 scores are for pairs that are not in" in extra.stderr) == (1, True)


def test_a_system_that_tells_nothing_is_warned_of(folder):
    (folder / "b").write_text("".join(f"{a} {b} {-value}\n" for (a, b), value in read((folder / "b").read_text()).items()))
    result = both(folder, "--weights-from", folder / "trials", "-o", folder / "fused")
    assert "b: its weight is not positive" in result.stderr


def test_embeddings_are_fused_into_a_directory(folder, rng):
    for name in ("x", "y"):
        write_ark_scp(folder, name, {key: rng.normal(size=4).astype(np.float32) for key in IDS})
    result = run("--embeddings", folder / "x.scp", "--embeddings", folder / "y.scp", "-o", folder / "xy")
    assert result.exit_code == 0, result.stderr
    ids, vectors = read_vectors(folder / "xy" / "dvector.scp")
    assert sorted(ids) == sorted(IDS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_command_lines_that_say_too_little_or_too_much_are_refused(folder):
    one, two = ("--scores", folder / "a"), ("--scores", folder / "b")
    for words in ([], one, [*one, *two], [*one, *two, "--embeddings", "x"], ["--embeddings", "x", "--embeddings", "y"]):
        result = run(*words)
        assert result.exit_code == 2
        assert "Missing option" in result.stderr


def test_methods_are_those_of_the_library():
    (choices,) = [option.type.choices for option in fuse.params if option.name == "method" and isinstance(option.type, click.Choice)]
    assert list(choices) == list(METHODS)
