"""run.sh of every recipe: what it says, what it refuses, and one recipe from end to end."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted(ROOT.glob("egs/*/*/run.sh"))
each_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.parent.parent.name)


def last_stage(recipe):
    """More than 7 where stages follow the evaluation, or it is preceded by a calibration."""
    return {"an4/v1": 8, "synthetic/v1": 8, "general/v1": 9, "an4/v4": 9}.get(recipe.parent.relative_to(ROOT / "egs").as_posix(), 7)


TINY = """
[network]
name = "lstm"
hidden_size = 16
projection_size = 0
num_layers = 1
embedding_dim = 8
pooling = "mean"
[loss]
name = "ge2e"
[batch]
num_speakers = 4
num_utterances = 2
min_frames = 20
max_frames = 30
[optimizer]
name = "adamw"
learning_rate = 0.005
[trainer]
steps = 6
log_interval = 3
valid_interval = 3
"""


@each_recipe
def test_help_lists_the_options_with_what_they_are(run, tmp_path, recipe):
    result = run(recipe, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    networks = ("device",) if "sv-train " in recipe.read_text() else ()
    for option in ("stage", "stop-stage", "skip-stages", "nj", "cmd", *networks, "data", "exp", "seeds?", "config"):
        assert re.search(rf"^  --{option} .*  *\S+", result.stdout, re.MULTILINE), option
    assert not list(tmp_path.iterdir())


@each_recipe
@pytest.mark.parametrize("value", ["abc", "99", "-1"])
def test_a_stage_that_is_not_there_is_refused_before_any_work(run, tmp_path, recipe, value):
    result = run(recipe, "--stage", value)
    assert result.returncode == 2
    assert f"--stage needs a stage from 0 to {last_stage(recipe)}, got" in result.stderr
    assert not list(tmp_path.iterdir())


@each_recipe
def test_every_later_stage_names_its_missing_input_and_the_stage_that_makes_it(run, recipe):
    for stage in range(1, 8):
        result = run(recipe, "--stage", stage, "--exp", "out")
        assert result.returncode == 1
        made_by = re.search(r"run\.sh: error: \S+ is missing: stage (\d) makes it", result.stderr)
        assert made_by, result.stderr
        name = recipe.parent.relative_to(ROOT / "egs").as_posix()
        assert int(made_by[1]) == {("an4/v4", 4): 2, ("an4/v4", 6): 4}.get((name, stage), stage - 1)  # two branches there


def test_the_synthetic_recipe_runs_from_end_to_end_whatever_folders_are_called(run, tmp_path):
    pytest.importorskip("espeakng_loader", reason="the synthetic extra is not installed")
    (tmp_path / "tiny.toml").write_text(TINY)
    sizes = ("--num-train", "4", "--num-dev", "2", "--num-test", "3", "--num-utterances", "3")
    recipe = ROOT / "egs/synthetic/v1/run.sh"
    words = (recipe, *sizes, "--data", "a dir; touch PWNED", "--exp", "ex $p", "--results", "my results.md", "--train-config", "tiny.toml")
    result = run(*words, "--nj", "2", timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(" done after ") == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a dir; touch PWNED", "ex $p", "my results.md", "tiny.toml"]
    assert re.search(r"^GE2E LSTM, seed 0:\nEER +\d+\.\d\d % \[", result.stdout, re.MULTILINE)
    assert (tmp_path / "ex $p" / "report.html").read_text().count("<h1>") == 1
    control, trained = (tmp_path / "my results.md").read_text().splitlines()[2:]
    assert control.startswith("| control: ")
    assert "9 target / 27 nontarget" in trained
    assert "egs/synthetic/v1/run.sh --num-train 4" in trained

    again = run(*words, "--stage", "2", "--stop-stage", "4", timeout=300)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("already") >= 7
