"""sv-report: names on the command line find their files; the page and the rows are those of the library."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from sv_toolkit.cli.evaluate import command as evaluate
from sv_toolkit.cli.named_paths import by_system, named_once, parse_system, split_name, two_paths
from sv_toolkit.cli.report import command
from sv_toolkit.io.archives import write_ark_scp


@pytest.fixture
def experiment(tmp_path, rng, monkeypatch):
    """Six speakers with three utterances, two systems, a training log; the current directory."""
    monkeypatch.chdir(tmp_path)
    ids = [f"s{i}-u{j}" for i in range(6) for j in range(3)]
    pairs = [(a, b) for i, a in enumerate(ids) for b in ids[i + 1 :]]
    (tmp_path / "test").mkdir()
    (tmp_path / "exp").mkdir()
    (tmp_path / "test/utt2spk").write_text("".join(f"{key} {key[:2]}\n" for key in ids))
    (tmp_path / "test/utt2keyword").write_text("".join(f"{key} {key[-1]}\n" for key in ids))
    (tmp_path / "test/trials").write_text("".join(f"{a} {b} {'target' if a[:2] == b[:2] else 'nontarget'}\n" for a, b in pairs))
    for name in ("scores", "other"):
        scores = rng.normal([2.0 * (a[:2] == b[:2]) for a, b in pairs])
        (tmp_path / "exp" / name).write_text("".join(f"{a} {b} {score:.4f}\n" for (a, b), score in zip(pairs, scores)))
    (tmp_path / "exp/train.jsonl").write_text(
        "".join(json.dumps({"step": s, "loss": 5 / s, "dev_eer": 1 / s}) + "\n" for s in range(1, 20))
    )
    (tmp_path / "exp/time").write_text("".join(json.dumps({"step": s, "seconds": s / 2}) + "\n" for s in range(1, 20)))
    write_ark_scp(tmp_path / "exp", "dvector", {key: rng.normal(size=4).astype(np.float32) for key in ids})
    (tmp_path / "exp/utt2spk").write_text((tmp_path / "test/utt2spk").read_text())
    return tmp_path


def run(*arguments):
    result = CliRunner().invoke(command, [*map(str, arguments), "--num-bootstrap", "20"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_a_report_of_everything(experiment):
    result = run(
        "a=test/trials,exp/scores", "b=test/trials,exp/other", "--model", "a=exp", "--timing-log", "a=exp/time",
        "--embeddings", "a=exp/dvector.scp", "--embeddings", "b=exp/dvector.scp,test", "-o", "out/report.html", "--charts", "charts",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    charts = {path.name for path in (experiment / "charts").iterdir()}
    assert charts == {
        "det.svg", "scores-1.svg", "scores-2.svg", "eer-by-keyword.svg", "loss-by-step.svg", "loss-by-seconds.svg", "dev-eer-by-step.svg",
        "dev-eer-by-seconds.svg", "map-1.svg", "map-2.svg", "impostor-cosines.svg",
    }  # fmt: skip
    page = (experiment / "out/report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert all((experiment / "charts" / name).read_text().count("</svg>") == 2 for name in charts)


def test_rows_are_those_of_sv_eval(experiment):
    more = ["--wall-time", "61", "--command", "./run.sh"]
    result = run("a=test/trials,exp/scores", "b=test/trials,exp/other", "-o", "r.html", *more)
    rows = [
        CliRunner().invoke(evaluate, ["test/trials", f"exp/{name}", "--results-row", row, "--num-bootstrap", "20", *more]).stdout
        for row, name in (("a", "scores"), ("b", "other"))
    ]
    assert result.stdout == "".join(rows)
    assert "./run.sh" in (experiment / "r.html").read_text()


def test_a_folder_is_a_system_by_its_name(experiment):
    for name in ("trials", "utt2spk"):
        (experiment / "exp" / name).write_text((experiment / "test" / name).read_text())
    assert run("exp", "-o", "r.html").stdout.startswith("| exp | ")


def test_the_numbers_as_a_table(experiment):
    run("a=test/trials,exp/scores", "-o", "r.csv")
    lines = (experiment / "r.csv").read_text().splitlines()
    assert lines[0].startswith("system,condition,trials,measure,value,low,high")
    assert {line.split(",")[1] for line in lines[1:]} == {"", "keyword"}


def test_a_training_alone(experiment):
    result = run("--model", "exp", "--timing-log", "exp/time", "--charts", "charts")
    assert (result.exit_code, result.stdout) == (0, "")
    assert {path.name for path in (experiment / "charts").iterdir()} == {
        "loss-by-step.svg", "loss-by-seconds.svg", "dev-eer-by-step.svg", "dev-eer-by-seconds.svg",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "missing argument"),
        (["a=test/trials,exp/scores"], "-o FILE or --charts"),
        (["a=test/trials,exp/scores", "-o", "r.pdf"], ".html or .csv"),
        (["a=test/trials,exp/scores", "-o", "r.html", "--png"], "--charts"),
        (["test/trials", "-o", "r.html"], "NAME=TRIALS,SCORES"),
        (["a=test/trials,exp/scores", "a=test/trials,exp/other", "-o", "r.html"], "two are called 'a'"),
        (["a=test/trials,exp/scores", "--calibrated", "b", "-o", "r.html"], "nothing is called 'b'; known: a"),
        (["a=test/trials,exp/scores", "--data", "b=test", "-o", "r.html"], "nothing is called 'b'; known: a"),
        (["a=test/trials,exp/scores", "--data", "test", "--data", "exp", "-o", "r.html"], "more than one path"),
    ],
)
def test_mistakes_of_the_command_line_are_said(experiment, arguments, words):
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.output
    assert not (experiment / "r.html").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a=test/trials,exp/none", "-o", "r.html"], "exp/none"),
        (["a=test/trials,test/utt2spk", "-o", "r.html"], "utt2spk:1"),
        (["a=test/trials,exp/scores", "--model", "a=test", "-o", "r.html"], "neither model.json nor train.jsonl"),
        (["a=test/trials,exp/scores", "--embeddings", "exp/none.scp", "-o", "r.html"], "exp/none.scp"),
    ],
)
def test_a_wrong_file_is_one_line_and_no_page(experiment, arguments, words):
    result = run(*arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (experiment / "r.html").exists()


def test_a_system_is_named_by_what_stands_before_the_first_equals_sign(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_system("GE2E, w=2") == ("GE2E, w", (Path("2/trials"), Path("2/scores")))
    (tmp_path / "lr=1").mkdir()
    assert parse_system("lr=1")[0] == "lr=1"
    with pytest.raises(click.BadParameter, match="NAME=TRIALS,SCORES"):
        parse_system("=a,b")


def test_the_comma_between_two_files_is_the_one_that_counts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a,b", "c"):
        (tmp_path / name).touch()
    assert [str(path) for path in two_paths("a,b,c")] == ["a,b", "c"]
    assert [str(path) for path in two_paths("x,y,z")] == ["x", "y,z"]
    assert two_paths("a,b")[1] is None


def test_names_of_options_go_to_their_systems(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    systems = {"a": 1, "b": 2}
    assert {name: str(path) for name, path in by_system(["b=x", "y"], systems, "--data").items()} == {"a": "y", "b": "x"}
    assert by_system([], systems, "--data") == {}
    (tmp_path / "c=d").touch()
    assert {str(path) for path in by_system(["c=d"], systems, "--data").values()} == {"c=d"}
    assert split_name("exp/ge2e", None) == ("ge2e", "exp/ge2e")
    assert split_name("exp/ge2e", "a") == ("a", "exp/ge2e")
    assert split_name("b=exp", "a") == ("b", "exp")
    assert named_once([("a", 1), ("b", 2)], "--model") == [("a", 1), ("b", 2)]
