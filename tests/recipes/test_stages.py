"""utils/stages.sh: which stages run, what they say, and how a recipe ends."""

import pytest

SCRIPT = """#!/usr/bin/env bash
# Three stages.
set -euo pipefail
stage=0
stop_stage=2
skip_stages=
fail_in=9
cmd=run_job
. parse_options.sh
. stages.sh
try() { echo "ran $1"; if [ "$fail_in" = "$1" ]; then false; fi; }
if should_run 0 "Zero"; then
  try 0
fi
if should_run 1 "One"; then
  need made 0
  try 1
fi
if should_run 2 "Two"; then
  try 2
fi
"""


@pytest.fixture
def stages(script, tmp_path):
    (tmp_path / "made").touch()
    return lambda *arguments: script(SCRIPT, *arguments)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [0, 1, 2]),
        (["--stage", "1"], [1, 2]),
        (["--stop-stage", "1"], [0, 1]),
        (["--stage=1", "--stop-stage=1"], [1]),
        (["--skip-stages", "0 2"], [1]),
    ],
)
def test_the_asked_stages_run_in_order(stages, arguments, expected):
    result = stages(*arguments)
    assert result.returncode == 0
    assert result.stdout.split("\n")[:-1] == [f"ran {stage}" for stage in expected]
    assert result.stderr.count(" done after ") == len(expected)


@pytest.mark.parametrize("option", ["--stage", "--stop-stage", "--skip-stages"])
@pytest.mark.parametrize("value", ["abc", "99", "-1", "1.5", "3"])
def test_a_stage_that_is_not_there_is_refused_with_the_range(stages, option, value):
    result = stages(option, value)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"run.sh: error: {option} needs a stage from 0 to 2, got '{value}'\n"


def test_nothing_to_run_is_an_error(stages):
    result = stages("--stage", "2", "--stop-stage", "1")
    assert result.returncode == 2
    assert "nothing to run" in result.stderr


def test_a_stray_word_is_refused(stages):
    result = stages("train")
    assert (result.returncode, result.stdout) == (2, "")
    assert "got 'train'" in result.stderr


def test_a_missing_input_names_the_stage_that_makes_it(stages, tmp_path):
    (tmp_path / "made").unlink()
    result = stages("--stage", "1")
    assert (result.returncode, result.stdout) == (1, "")
    assert "run.sh: error: made is missing: stage 0 makes it (--stage 0)" in result.stderr


def test_a_refused_option_ends_the_recipe_as_a_wrong_command_line(script, tmp_path):
    (tmp_path / "made").touch()
    result = script(SCRIPT.replace("  try 1", '  refuse "--corpus DIR is needed"\n  try 1'))
    assert (result.returncode, result.stdout) == (2, "ran 0\n")
    assert "run.sh: error: --corpus DIR is needed\n" in result.stderr


def test_a_failing_stage_ends_the_recipe_and_is_named(stages):
    result = stages("--fail-in", "1")
    assert result.returncode == 1
    assert result.stdout == "ran 0\nran 1\n"
    assert "stage 1 failed (exit 1) after" in result.stderr
    assert "where a command asks for --overwrite: remove what it names, or give other folders" in result.stderr


def test_a_job_gets_the_options_of_its_runner_and_keeps_its_words(script, tmp_path):
    text = SCRIPT.replace("try 0", 'job log "two words" ";"').replace("need made 0", "")
    (tmp_path / "runner").write_text('#!/bin/sh\nprintf "<%s>" "$@"\n')
    (tmp_path / "runner").chmod(0o755)
    assert script(text, "--stop-stage", "0", "--cmd", f"{tmp_path}/runner --mem 4G").stdout == "<--mem><4G><log><two words><;>"


def test_the_record_of_a_run_is_its_command_and_the_sum_of_its_last_stage_times(script, tmp_path):
    text = SCRIPT.replace("fail_in=9", "exp=ex").replace('if [ "$fail_in" = "$1" ]; then false; fi', "sleep 1")
    (tmp_path / "made").touch()
    text += 'printf "%s|" "$(recipe_command)" "$(wall_time)"\n'
    first = script(text, "--stop-stage", "1", "--exp", "a dir")
    command, seconds = first.stdout.splitlines()[-1].split("|")[:2]
    assert command == str(tmp_path / "run.sh") + r" --stop-stage 1 --exp a\ dir"
    assert int(seconds) == sum(last_times(tmp_path / "a dir").values()) >= 2
    again = script(text, "--stage", "1", "--exp", "a dir")
    assert list(last_times(tmp_path / "a dir")) == ["0", "1", "2"]
    assert 0 <= sum(last_times(tmp_path / "a dir").values()) - int(again.stdout.split("|")[-2]) <= 1  # the last stage was still running


def last_times(exp):
    """Seconds of each stage as it ran last."""
    return {stage: int(seconds) for stage, seconds in (line.split() for line in (exp / "stage_times").read_text().splitlines())}


SPREAD = """#!/usr/bin/env bash
set -euo pipefail
stage=0
stop_stage=0
skip_stages=
nj=3
exp=exp
cmd=run_job
. parse_options.sh
. stages.sh
if should_run 0 "Zero"; then
  spread log/x.log echo a "b c"
fi
"""


def test_plain_run_job_gets_one_job_of_several_processes(script, tmp_path):
    assert script(SPREAD).returncode == 0
    assert (tmp_path / "log/x.log").read_text().splitlines()[3] == "--nj 3 a b c"
    assert [path.name for path in (tmp_path / "log").iterdir()] == ["x.log"]


@pytest.mark.parametrize("runner", ["run_job --max-jobs-run 2", "./cluster"])
def test_any_other_runner_gets_an_array_of_parts_and_the_join(script, tmp_path, runner):
    (tmp_path / "cluster").write_text('#!/bin/sh\nexec run_job "$@"\n')
    (tmp_path / "cluster").chmod(0o755)
    assert script(SPREAD, "--cmd", runner).returncode == 0
    logs = {path.name: path.read_text().splitlines()[3] for path in (tmp_path / "log").iterdir()}
    assert logs == {**{f"x.{job}.log": f"a b c --nj 1 --part {job}/3" for job in (1, 2, 3)}, "x.log": "a b c --join 3"}
