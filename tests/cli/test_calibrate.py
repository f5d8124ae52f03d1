"""sv-calibrate: fits, files beside and inside models, applying, what is printed and refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from sv_toolkit.backends.calibration import FitList, calibrate, read_calibration
from sv_toolkit.cli.calibrate import command as sv_calibrate
from sv_toolkit.cli.check_trials import command as check_trials
from sv_toolkit.cli.evaluate import command as evaluate

IDS = [f"s{speaker:02d}-u{number}" for speaker in range(24) for number in range(3)]
PAIRS = [(a, b) for i, a in enumerate(IDS) for b in IDS[i + 1 :]]
IS_TARGET = np.array([a[:3] == b[:3] for a, b in PAIRS])


@pytest.fixture
def values(rng):
    return np.clip(rng.normal(0.1 + 0.3 * IS_TARGET, 0.14), -1, 1).round(6)


@pytest.fixture
def folder(tmp_path, values):
    (tmp_path / "trials").write_text("".join(f"{a} {b} {'target' if same else 'nontarget'}\n" for (a, b), same in zip(PAIRS, IS_TARGET)))
    write_scores(tmp_path / "scores", values)
    (tmp_path / "utt2spk").write_text("".join(f"{key} {key[:3]}\n" for key in IDS))
    (tmp_path / "utt2dur").write_text("".join(f"{key} {1 + int(key[-1])}\n" for key in IDS))
    return tmp_path


def write_scores(path, values):
    path.write_text("".join(f"{a} {b} {value}\n" for (a, b), value in zip(PAIRS, values)))


def run(*arguments, command=sv_calibrate):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def fit(folder, *more):
    return run(folder / "trials", folder / "scores", "-o", folder / "cal.json", *more)


@pytest.mark.parametrize("bend", [(), ("--bend",)])
def test_the_file_holds_the_fit_of_the_library_and_the_list(folder, values, bend):
    result = fit(folder, "--prior", 0.1, *bend)
    assert result.exit_code == 0, result.stderr
    found = read_calibration(folder / "cal.json")
    assert found == calibrate(
        values, IS_TARGET, FitList("trials", found.list.hash, 72, len(PAIRS) - 72), 0.1, bent=bool(bend), seconds=(1.0, 3.0)
    )
    assert f"hash {found.list.hash}" in run(folder / "trials", command=check_trials).stdout
    assert f"72 target, {len(PAIRS) - 72} nontarget, list {found.list.hash}" in result.stdout


def test_the_order_of_the_scores_does_not_matter(folder, rng):
    fit(folder)
    before = (folder / "cal.json").read_bytes()
    lines = (folder / "scores").read_text().splitlines()
    (folder / "scores").write_text("".join(f"{line}\n" for line in rng.permutation(lines)))
    fit(folder)
    assert (folder / "cal.json").read_bytes() == before


@pytest.mark.parametrize("bend", [(), ("--bend",)])
def test_costs_before_and_after_are_those_of_sv_eval(folder, bend):
    lines = fit(folder, *bend).stdout.splitlines()
    assert lines[0].split()[:5] == ["Cllr", "min", "Cllr", "actDCF(0.01)", "minDCF(0.01)"]
    before, after = (line.split()[-6:] for line in lines[1:3])
    assert before[1] == after[1]  # a monotone map changes no lowest cost
    assert float(after[0]) < float(before[0])
    run("--apply", folder / "cal.json", folder / "scores", "-o", folder / "llrs")
    judged = run(folder / "trials", folder / "llrs", "--calibrated", command=evaluate).stdout
    assert f"actDCF    {after[2]} at p_target 0.01" in judged
    assert f"minDCF    {after[3]}" in judged


def test_the_rates_at_the_printed_threshold_are_those_of_the_ratios(folder):
    line = next(line for line in fit(folder).stdout.splitlines() if "p_target 0.05" in line)
    run("--apply", folder / "cal.json", folder / "scores", "-o", folder / "llrs")
    llrs = np.array([float(line.split()[2]) for line in (folder / "llrs").read_text().splitlines()])
    false_alarm, miss = (float(word) / 100 for word in (line.split()[7], line.split()[12]))
    threshold = float(line.split()[1])
    assert threshold == pytest.approx(np.log(0.95 / 0.05), abs=1e-4)
    assert false_alarm == pytest.approx(np.mean(llrs[~IS_TARGET] >= threshold), abs=1e-5)
    assert miss == pytest.approx(np.mean(llrs[IS_TARGET] < threshold), abs=1e-5)


@pytest.mark.parametrize("option", [("--prior", 0.1), ("--bend",), ("--folds", 2), ("--data", "x")], ids=str)
def test_what_belongs_to_a_fit_is_refused_where_none_is_made(folder, option):
    fit(folder)
    result = run("--apply", folder / "cal.json", folder / "scores", *option)
    assert result.exit_code == 2 and f"{option[0]} belongs to a fit" in result.stderr


def test_scores_that_are_said_to_come_from_another_back_end_are_refused(folder):
    fit(folder)
    result = run("--apply", folder / "cal.json", "--scoring", "plda", folder / "scores")
    assert result.exit_code == 1 and "was fitted on cosine scores, these are plda" in result.stderr
    assert run("--apply", folder / "cal.json", "--scoring", "cosine", folder / "scores").exit_code == 0


@pytest.mark.parametrize("prior", ["nan", "inf", "0", "1"])
def test_priors_are_numbers_between_0_and_1(folder, prior):
    result = fit(folder, "--prior", prior)
    assert result.exit_code == 2 and "--prior" in result.stderr


def test_applying_writes_ratios_in_the_order_of_the_scores(folder, values):
    fit(folder)
    result = run("--apply", folder / "cal.json", folder / "scores")
    assert [tuple(line.split()[:2]) for line in result.stdout.splitlines()] == PAIRS
    llrs = [float(line.split()[2]) for line in result.stdout.splitlines()]
    np.testing.assert_allclose(llrs, read_calibration(folder / "cal.json").llr(values), atol=1e-6)
    with_list = run("--apply", folder / "cal.json", folder / "trials", folder / "scores")
    assert with_list.stdout == result.stdout
    assert "Cllr" in with_list.stderr


def test_durations_are_recorded_and_needed_again(folder):
    result = fit(folder, "--utt2dur", folder / "utt2dur")
    assert result.exit_code == 0, result.stderr
    found = read_calibration(folder / "cal.json")
    assert found.quality_names == ("log_duration_enroll", "log_duration_test")
    assert (found.quality[0].low, found.quality[0].high) == pytest.approx((0, np.log(3)))
    refused = run("--apply", folder / "cal.json", folder / "scores")
    assert refused.exit_code == 1
    assert "needs log_duration_enroll and log_duration_test; give --utt2dur" in refused.stderr
    assert run("--apply", folder / "cal.json", folder / "scores", "--utt2dur", folder / "utt2dur").exit_code == 0
    wrong = run("--apply", folder / "cal.json", folder / "scores", "--utt2num-frames", folder / "utt2dur")
    assert (wrong.exit_code, "give --utt2dur" in wrong.stderr) == (1, True)


@pytest.mark.parametrize("bend", [(), ("--bend",)])
def test_folds_judge_fits_by_speakers_they_have_not_heard(folder, bend):
    lines = fit(folder, "--folds", 2, *bend).stdout.splitlines()
    assert lines[3].startswith(f"on other speakers (2 folds, {2 * 36 * 35 // 2} trials)")
    assert float(lines[3].split()[-6]) < 1
    (folder / "utt2spk").unlink()
    refused = fit(folder, "--folds", 2)
    assert refused.exit_code == 1
    assert "no utt2spk beside the trial list" in refused.stderr


def test_few_speakers_are_warned_of_where_they_are_known(folder):
    assert "warning" not in fit(folder).stderr
    (folder / "utt2spk").write_text("".join(f"{key} s{int(key[1:3]) // 2}\n" for key in IDS))
    wrong = [f"{a} {b} {'target' if int(a[1:3]) // 2 == int(b[1:3]) // 2 else 'nontarget'}\n" for a, b in PAIRS]
    (folder / "trials").write_text("".join(wrong))
    assert "few speakers: a calibration on 12" in fit(folder).stderr
    (folder / "utt2spk").unlink()
    assert "few speakers" not in fit(folder).stderr


def test_the_model_carries_its_calibration(folder):
    torch = pytest.importorskip("torch")
    from sv_toolkit.features.prepare import InputConfig
    from sv_toolkit.models.store import Description, WindowConfig, load_model, make_network, model_digest, save_model

    network = {"hidden_size": 8, "projection_size": 0, "num_layers": 1, "embedding_dim": 4, "pooling": "mean", "dropout": 0.0}
    description = Description("lstm", network, 5, InputConfig(), WindowConfig(20, 10, 5))
    torch.manual_seed(0)
    save_model(folder / "model", make_network(description).state_dict(), description)
    digest = model_digest(folder / "model")
    result = run(folder / "trials", folder / "scores", "--model", folder / "model")
    assert result.exit_code == 0, result.stderr
    assert read_calibration(folder / "model").model == digest == model_digest(folder / "model")
    assert load_model(folder / "model")[1] == description
    assert run("--apply", folder / "model", folder / "scores", "--model", folder / "model").exit_code == 0
    content = json.loads((folder / "model" / "calibration.json").read_text())
    (folder / "other.json").write_text(json.dumps(content | {"model": "0" * 64}))
    refused = run("--apply", folder / "other.json", folder / "scores", "--model", folder / "model")
    assert (refused.exit_code, "run sv-calibrate" in refused.stderr) == (1, True)
    missing = run(folder / "trials", folder / "scores", "--model", folder / "no-model")
    assert (missing.exit_code, (folder / "no-model").exists()) == (1, False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: -values, "larger scores belong to nontargets"),
        (lambda values: 0 * values, "all values are the same (0)"),
        (lambda values: 3 * values, "is no cosine; say what made the scores with --scoring"),
    ],
    ids=["falling", "constant", "no cosines"],
)
def test_scores_that_cannot_be_calibrated_leave_no_file(folder, values, change, message):
    write_scores(folder / "scores", change(values))
    result = fit(folder)
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (folder / "cal.json").exists()


def test_scores_of_a_named_back_end_may_have_any_size(folder, values):
    write_scores(folder / "scores", 30 * values)
    assert fit(folder, "--scoring", "plda").exit_code == 0
    assert read_calibration(folder / "cal.json").scoring == "plda"


def test_command_lines_that_say_too_little_or_too_much_are_refused(folder):
    for words in (
        [folder / "scores"],
        [folder / "trials", folder / "scores"],
        [folder / "trials", folder / "scores", folder / "scores", "-o", "cal.json"],
        [folder / "trials", folder / "scores", "-o", "cal.json", "--utt2dur", "a", "--utt2num-frames", "b"],
    ):
        result = run(*words)
        assert result.exit_code == 2
        assert "Error: " in result.stderr


def test_a_calibration_by_which_nothing_is_accepted_says_so_and_names_a_prior(folder, rng):
    write_scores(folder / "scores", np.clip(rng.normal(0.1 + 0.05 * IS_TARGET, 0.14), -1, 1).round(6))
    result = fit(folder, "--prior", 0.001)
    assert result.exit_code == 0
    assert "warning: at prior 0.001 no claim of the list trials reaches the threshold of 6.91" in result.stderr
    prior = float(result.stderr.split("support a prior from ")[1].split()[0])
    found = read_calibration(folder / "cal.json")
    assert found.threshold(prior) <= found.highest
    assert "no claim" not in fit(folder, "--prior", 0.5).stderr


def test_lengths_that_the_data_directory_does_not_say_are_left_open(folder):
    (folder / "utt2dur").write_text("s00-u0 1\n")
    assert fit(folder).exit_code == 0
    assert read_calibration(folder / "cal.json").seconds is None
