"""utils/slurm_job has the calling shape of run.pl; here sbatch and squeue are small stand-ins, tests/cluster has the real ones."""

import subprocess

import pytest

SBATCH = """#!/bin/bash
echo "$@" >>sbatch.log
cat >job.sh
for option; do
  case $option in
    --array=*) array=${option#*=} ;;
    --output=*) output=${option#*=} ;;
  esac
done
echo 17
array=${array%\\%*}
for job in $(seq "${array%-*}" "${array#*-}"); do SLURM_ARRAY_TASK_ID=$job sh job.sh >"${output//%a/$job}" 2>&1; done
true
"""


@pytest.fixture
def slurm_job(environment, tmp_path):
    for name, text in (("sbatch", SBATCH), ("squeue", "#!/bin/sh\n"), ("scancel", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = {**environment, "PATH": f"{tmp_path}:{environment['PATH']}"}
    return lambda *words: subprocess.run(
        ["slurm_job", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def output(log):
    lines = log.read_text().splitlines()
    assert lines[1].startswith("# Started at ") and lines[-1].startswith("# Ended (code ")
    return lines[3:-1]


def test_every_job_gets_its_number_and_its_log_and_words_stay_words(slurm_job, tmp_path):
    done = slurm_job(
        "--mem",
        "1G",
        "--partition=cpu",
        "--max-jobs-run",
        "2",
        "JOB=2:4",
        "log/x.JOB.log",
        "printf",
        r"<%s>\n",
        "JOB/4",
        "a b",
        "$(id)",
        "",
    )
    assert done.returncode == 0, done.stderr
    assert output(tmp_path / "log/x.3.log") == ["<3/4>", "<a b>", "<$(id)>", "<>"]
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == ["x.2.log", "x.3.log", "x.4.log"]
    assert "--mem=1G --partition=cpu --array=2-4%2" in (tmp_path / "sbatch.log").read_text()


def test_a_single_job_has_a_plain_log(slurm_job, tmp_path):
    assert slurm_job("x.log", "echo", "hello").returncode == 0
    assert output(tmp_path / "x.log") == ["hello"]


def test_a_failure_shows_the_end_of_the_first_failing_log(slurm_job):
    failed = slurm_job("JOB=1:3", "x.JOB.log", "sh", "-c", "echo reason JOB; exit $((JOB == 2))")
    assert failed.returncode == 1
    assert "1 of 3 jobs failed; log: x.2.log" in failed.stderr
    assert "reason 2" in failed.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mem"], "--mem needs a value"),
        (["x.log"], "a log file"),
        (["JOB=1:2", "x.log", "true"], "put JOB"),
        (["JOB=2:1", "x"], "no job"),
    ],
)
def test_a_wrong_command_line_is_exit_2(slurm_job, words, message):
    wrong = slurm_job(*words)
    assert wrong.returncode == 2
    assert message in wrong.stderr
