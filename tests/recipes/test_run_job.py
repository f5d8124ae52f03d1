"""utils/run_job has the calling shape and the log frame of Kaldi's run.pl."""

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

FRAME = re.compile(
    r"# (?P<command>.*)\n# Started at .+\n#\n(?P<output>(.*\n)*)# Accounting: time=\d+ threads=1\n"
    r"# Ended \((?P<ended>code \d+(; signal \d+)?)\) at .+, elapsed time \d+ seconds\n"
)


def frame(path):
    match = FRAME.fullmatch(path.read_text())
    assert match, path.read_text()
    return match


def test_a_log_has_kaldis_frame(run, tmp_path):
    result = run("run_job", "new/dir/x.log", "bash", "-c", "echo out; echo err >&2")
    assert result.returncode == 0
    log = frame(tmp_path / "new/dir/x.log")
    assert (log["output"], log["ended"]) == ("out\nerr\n", "code 0")
    assert log["command"] == "bash -c 'echo out; echo err >&2'"


def test_every_job_gets_its_number_and_its_log(run, tmp_path):
    assert run("run_job", "JOB=3:5", "x.JOB.log", "echo", "part JOB of JOB").returncode == 0
    assert sorted(log.name for log in tmp_path.iterdir()) == ["x.3.log", "x.4.log", "x.5.log"]
    assert frame(tmp_path / "x.4.log")["output"] == "part 4 of 4\n"


def test_words_stay_words(run, tmp_path):
    run("run_job", "x.log", "printf", r"<%s>\n", "a b", "$(touch PWNED)", ";", "")
    assert frame(tmp_path / "x.log")["output"] == "<a b>\n<$(touch PWNED)>\n<;>\n<>\n"


def test_a_failure_shows_the_end_of_the_first_failing_log(run):
    result = run("run_job", "JOB=1:4", "x.JOB.log", "bash", "-c", "echo reason JOB; exit $((JOB % 2 == 0))")
    assert result.returncode == 1
    assert "2 of 4 jobs failed; log: x.2.log" in result.stderr
    assert "reason 2" in result.stderr
    assert "reason 4" not in result.stderr


def test_a_single_job_is_shown_as_it_runs(run):
    assert "hello" in run("run_job", "x.log", "echo", "hello").stderr


def test_a_command_that_is_not_there_fails_with_its_name(run, tmp_path):
    result = run("run_job", "x.log", "no-such-command")
    assert result.returncode == 1
    assert "no-such-command: No such file or directory" in result.stderr
    assert frame(tmp_path / "x.log")["ended"] == "code 127"


def test_a_killed_job_is_a_failure(run, tmp_path):
    assert run("run_job", "x.log", "bash", "-c", "kill -9 $$").returncode == 1
    assert frame(tmp_path / "x.log")["ended"] == "code 1; signal 9"


def test_no_more_jobs_than_asked_run_at_a_time(run, tmp_path):
    count = "ls running | wc -l"
    command = f"touch running/JOB; {count}; sleep 0.2; rm running/JOB"
    (tmp_path / "running").mkdir()
    run("run_job", "--max-jobs-run", "2", "JOB=1:5", "x.JOB.log", "bash", "-c", command)
    most = max(int(frame(tmp_path / f"x.{job}.log")["output"]) for job in range(1, 6))
    assert most == 2


def test_options_of_other_runners_are_let_pass(run):
    assert run("run_job", "--mem", "4G", "--gpu", "1", "x.log", "true").returncode == 0


@pytest.mark.parametrize(
    "words",
    [[], ["x.log"], ["JOB=1:2", "x.log", "true"], ["JOB=3:2", "x.JOB.log", "true"], ["--max-jobs-run", "0", "x.log", "true"], ["--mem"]],
)
def test_a_wrong_call_is_refused_with_an_example(run, tmp_path, words):
    result = run("run_job", *words)
    assert result.returncode == 2
    assert "for example: run_job" in result.stderr
    assert not list(tmp_path.iterdir())


def test_jobs_end_with_their_runner(tmp_path, environment):
    words = ["run_job", "JOB=1:2", "x.JOB.log", "bash", "-c", "echo $$; exec sleep 60"]
    with subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as runner:
        pids = []
        deadline = time.monotonic() + 20
        while len(pids) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
            pids = [line for log in tmp_path.glob("x.*.log") for line in log.read_text().splitlines() if line.isdigit()]
        runner.send_signal(signal.SIGTERM)
        assert runner.wait(60) == 143
    assert len(pids) == 2
    time.sleep(0.2)
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
