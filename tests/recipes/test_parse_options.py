"""utils/parse_options.sh: what a script takes is what it lists, and nothing else."""

import pytest

SCRIPT = """#!/usr/bin/env bash
# Says what it was told.
#
#   ./run.sh --foo-bar x
set -euo pipefail

foo_bar=default # a text
num=4     # a number
flag=false
cmd=run_job
empty=
not_an_option() { :; }
. parse_options.sh
after=1
printf '%s|' "$foo_bar" "$num" "$flag" "$cmd" "$empty" "$@"
"""


def refused(script, *arguments):
    result = script(SCRIPT, *arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("run.sh: error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "default|4|false|run_job||"),
        (["--foo-bar", "x"], "x|4|false|run_job||"),
        (["--foo-bar=x"], "x|4|false|run_job||"),
        (["--foo_bar", "x"], "x|4|false|run_job||"),
        (["--foo-bar=a=b c", "--num", "8"], "a=b c|8|false|run_job||"),
        (["--foo-bar", ""], "|4|false|run_job||"),
        (["--flag", "true", "--empty", "full"], "default|4|true|run_job|full|"),
        (["--num", "1", "--num", "2"], "default|2|false|run_job||"),
        (["--num", "5", "first", "--num", "6"], "default|5|false|run_job||first|--num|6|"),
        (["--foo-bar=--num"], "--num|4|false|run_job||"),
    ],
)
def test_options_become_variables_and_the_rest_stays(script, arguments, expected):
    result = script(SCRIPT, *arguments)
    assert (result.returncode, result.stdout) == (0, expected), result.stderr


@pytest.mark.parametrize("value", ["$(touch PWNED)", "`touch PWNED`", "a dir; touch PWNED", "'\"", "*", "-3"])
def test_values_are_never_run_or_expanded(script, tmp_path, value):
    assert script(SCRIPT, "--foo-bar", value).stdout.startswith(value + "|")
    assert not (tmp_path / "PWNED").exists()


def test_an_unknown_option_is_refused_with_the_known_ones(script):
    message = refused(script, "--fobar", "x")
    assert "unknown option --fobar; known: --cmd --empty --flag --foo-bar --num" in message


@pytest.mark.parametrize("name", ["PATH", "path", "after", "not-an-option", "help-message", "home"])
def test_only_what_stands_at_the_head_is_an_option(script, name):
    assert "unknown option" in refused(script, f"--{name}", "x")


@pytest.mark.parametrize(
    ("arguments", "mentions"),
    [
        (["--flag", "yes"], "--flag needs true or false, got 'yes'"),
        (["--num", "many"], "--num needs a whole number, got 'many'"),
        (["--num", "-3"], "--num needs a whole number, got '-3'"),
        (["--num="], "--num needs a whole number, got ''"),
        (["--num"], "--num needs a value"),
        (["--foo-bar", "--num", "3"], "--foo-bar needs a value, but the option --num follows"),
        (["--cmd", ""], "--cmd needs a job runner"),
        (["-x", "3"], "two dashes"),
        (["--config", "nowhere"], "--config: no such file: 'nowhere'"),
    ],
)
def test_wrong_values_are_refused_by_name(script, arguments, mentions):
    assert mentions in refused(script, *arguments)


def test_help_is_the_head_of_the_script(script):
    result = script(SCRIPT, "--num", "7", "--help")
    assert result.returncode == 0
    assert "Says what it was told." in result.stdout
    assert "./run.sh --foo-bar x" in result.stdout
    assert "--foo-bar default" in result.stdout
    assert "a text" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("where", [["--config", "options"], ["--config=options"]])
def test_the_command_line_wins_over_the_configuration_wherever_it_stands(script, tmp_path, where):
    (tmp_path / "options").write_text("# comment\n\nfoo_bar=from the file\nnum=9")
    assert script(SCRIPT, "--num", "8", *where).stdout == "from the file|8|false|run_job||"


def test_a_configuration_is_read_and_not_run(script, tmp_path):
    (tmp_path / "options").write_text("foo_bar=$(touch PWNED)\n")
    assert script(SCRIPT, "--config", "options").stdout.startswith("$(touch PWNED)|")
    (tmp_path / "options").write_text("foo_bar=x\ntouch PWNED\n")
    assert "options:2: a name=value line is needed" in refused(script, "--config", "options")
    assert not (tmp_path / "PWNED").exists()
