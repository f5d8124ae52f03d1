"""Tables of systems x seeds: means are those of the slow loop, verdicts those of a known order."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sv_toolkit.config import build
from sv_toolkit.data.trials import make, read_scores
from sv_toolkit.errors import ConfigError, DataError
from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.metrics.detection import equal_error_rate
from sv_toolkit.metrics.intervals import Interval
from sv_toolkit.reporting.experiment_charts import mean_course, write_learning_charts
from sv_toolkit.reporting.experiment_table import markdown, replace_section
from sv_toolkit.reporting.experiments import Experiment, Folders
from sv_toolkit.reporting.identification import IdentificationSettings, identify, labelled_embeddings
from sv_toolkit.reporting.provenance import Provenance
from sv_toolkit.reporting.tabulation import common_dev_eer, log_ratio, seconds_to, tabulate, verdict

ORIGIN = Provenance("0123456789", "2026-01-02", "a processor, 2 cores", "", "sv-tabulate losses.toml")
SPEAKERS = [f"s{number:02d}" for number in range(12)]
QUALITY = {"good": 2.6, "fair": 1.2, "twin": 2.6}


def write_log(path, eers, seconds_per_step):
    lines = [json.dumps({"step": 10 * i, "seconds": 10 * i * seconds_per_step, "dev_eer": eer}) for i, eer in enumerate(eers, 1)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def folders(tmp_path, rng):
    """Twelve speakers, four utterances; the scores of `good` and `twin` are far better than those of `fair`, three seeds each."""
    exp, data = tmp_path / "exp", tmp_path / "data"
    data.mkdir()
    ids = [f"{speaker}-u{number}" for speaker in SPEAKERS for number in range(4)]
    (data / "utt2spk").write_text("".join(f"{key} {key[:3]}\n" for key in ids))
    pairs = [(a, b) for i, a in enumerate(ids) for b in ids[i + 1 :]]
    is_target = np.array([a[:3] == b[:3] for a, b in pairs])
    trials = make(pairs, is_target, data / "trials")
    (data / "trials").write_text("".join(f"{a} {b} {'target' if same else 'nontarget'}\n" for (a, b), same in zip(pairs, is_target)))
    centers = {speaker: rng.normal(size=8) for speaker in SPEAKERS}
    for name, quality in QUALITY.items():
        for seed in range(3):
            run = exp / f"{name}-{seed}"
            run.mkdir(parents=True)
            scores = rng.normal(size=len(pairs)) + quality * is_target
            (run / "scores_all").write_bytes(b"".join(trials.score_lines(scores)))
            noise = {"good": 0.3, "fair": 2.0, "twin": 0.3}[name]
            write_ark_scp(run, "dvector", {key: (centers[key[:3]] + noise * rng.normal(size=8)).astype(np.float32) for key in ids})
            write_log(run / "timing.jsonl", [0.3, 0.2 - 0.01 * seed, 0.1], {"good": 1.0, "fair": 4.0, "twin": 1.0}[name] + 0.01 * seed)
    (exp / "control_all").write_bytes(b"".join(trials.score_lines(rng.normal(size=len(pairs)) + 0.1 * is_target)))
    return Folders(exp, data)


def table_of(claims=(), **more):
    systems = [
        {"name": name, "scores": f"{name}-{{seed}}/scores_{{column}}", "embeddings": f"{name}-{{seed}}/dvector.scp",
         "timing": f"{name}-{{seed}}/timing.jsonl", "paper": "8.5"}
        for name in QUALITY
    ]  # fmt: skip
    systems.append({"name": "control", "scores": "control_{column}", "deterministic": True})
    columns = [{"name": "all | pairs", "key": "all", "trials": "trials"},
               {"name": "ACC", "kind": "accuracy", "utt2spk": "utt2spk", "num_candidates": 6}]  # fmt: skip
    return {"title": "Losses", "seeds": [0, 1, 2], "columns": columns, "systems": systems, "claims": list(claims), **more}


def experiment(claims=(), **more):
    return build(Experiment, table_of(claims, **more), "test.toml")


def claim(better, worse, metric="eer", **more):
    return {"text": f"{better} beats {worse}", "better": better, "worse": worse, "metric": metric, **more}


@pytest.mark.parametrize("metric", ["eer", "accuracy", "seconds_to_dev_eer"])
def test_verdicts_of_a_known_order(folders, metric):
    claims = [claim("good", "fair", metric), claim("fair", "good", metric)]
    found = tabulate(experiment(claims), folders, 100).findings
    (right,), (wrong,) = (findings for _, findings in found)
    assert (right.verdict, wrong.verdict) == ("reproduced", "not reproduced")
    assert right.difference.difference == pytest.approx(-wrong.difference.difference)
    assert not right.seeds_overlap and not wrong.seeds_overlap


def test_systems_of_one_quality_are_undecided(folders):
    claims = [claim(*names, metric) for names in (("good", "twin"), ("twin", "good")) for metric in ("eer", "seconds_to_dev_eer")]
    for _, (finding,) in tabulate(experiment(claims), folders, 100).findings:
        assert finding.verdict == "undecided"
        assert finding.seeds_overlap


@pytest.mark.parametrize("low, high, sign, expected", [
    (-2, -1, 1, "reproduced"), (1, 2, 1, "not reproduced"), (-1, 1, 1, "undecided"), (0, 0, 1, "undecided"), (-1, 0, 1, "undecided"),
    (1, 2, -1, "reproduced"), (-2, -1, -1, "not reproduced"), (-1, 1, -1, "undecided"),
])  # fmt: skip
def test_verdict_follows_from_the_side_of_zero(low, high, sign, expected):
    assert verdict(Interval(low, high, 10, 5), False, sign) == expected
    assert verdict(Interval(low, high, 10, 5), True, sign) == "undecided"


def test_cells_are_the_numbers_of_the_single_runs(folders):
    table = tabulate(experiment(), folders, 50)
    trials = table.measures["all"].trials
    for name in QUALITY:
        eers, accuracies = [], []
        for seed in range(3):
            scores = read_scores(folders.exp / f"{name}-{seed}" / "scores_all", trials)
            eers.append(equal_error_rate(scores[trials.is_target], scores[~trials.is_target]))
            vectors = labelled_embeddings(folders.exp / f"{name}-{seed}" / "dvector.scp", folders.data / "utt2spk")
            accuracies.append(identify(*vectors, IdentificationSettings(num_candidates=6))[0].accuracy)
        assert table.cells[name, "all"].by_seed == tuple(eers)
        assert table.cells[name, "acc"].by_seed == pytest.approx(accuracies)
        for key, values in (("all", eers), ("acc", accuracies)):
            cell = table.cells[name, key]
            assert cell.mean == pytest.approx(np.mean(values))
            assert cell.interval.low <= cell.mean <= cell.interval.high
    assert len(table.cells["control", "all"].by_seed) == 1
    assert ("control", "acc") not in table.cells


def test_seconds_are_to_the_worst_of_the_best_dev_eers(folders):
    table = tabulate(experiment([claim("good", "fair", "seconds_to_dev_eer")]), folders, 20)
    logs = table.logs["good"]
    assert common_dev_eer(list(table.logs.values())) == 0.1
    assert [seconds_to(log, 0.2) for log in logs] == pytest.approx([20.0, 20.2, 20.4])
    assert seconds_to(logs[0], 0.05) is None
    ((_, (finding,)),) = table.findings
    assert np.exp(finding.difference.difference) == pytest.approx(1 / 4, rel=0.02)


def test_log_ratio_is_students_paired_test(rng):
    stats = pytest.importorskip("scipy.stats")
    pairs = np.exp(rng.normal(size=(5, 2)))
    expected = stats.ttest_rel(*np.log(pairs).T)
    found = log_ratio(pairs)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_the_section_is_deterministic_and_whole(folders):
    claims = [claim("good", "fair"), claim("good", "fair", "seconds_to_dev_eer"), claim("fair", "good", "accuracy")]
    once, again = (markdown(tabulate(experiment(claims), folders, 60), ORIGIN) for _ in range(2))
    assert once == again
    rows = [line for line in once.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 4 and len({line.replace("\\|", "").count("|") for line in rows}) == 1
    assert rows[0].startswith("| system | all \\| pairs, EER | ACC | training | to a dev EER of 10.00 % |")
    assert "paper 8.5 %" in rows[2] and rows[5].endswith("| – | – | – |")
    assert "- good beats fair: **reproduced** (all \\| pairs); good " in once
    assert "- fair beats good: **not reproduced** (ACC); " in once
    assert "12 speakers" in once and "ratio 0.2" in once
    assert "`sv-tabulate losses.toml`" in once


def test_several_columns_are_summed_up(folders):
    columns = [{"name": name, "key": key, "trials": "trials"} for name, key in (("one", "all"), ("two", "two"))]
    for name in QUALITY:
        for seed in range(3):
            run = folders.exp / f"{name}-{seed}"
            (run / "scores_two").write_bytes((folders.exp / f"{'twin' if name == 'fair' else name}-{seed}" / "scores_all").read_bytes())
    systems = [row for row in table_of()["systems"] if not row.get("deterministic")]
    section = markdown(tabulate(experiment([claim("good", "fair")], columns=columns, systems=systems), folders, 60), ORIGIN)
    assert "- good beats fair: **of 2 columns reproduced in 1, undecided in 1**.\n  - one: reproduced; " in section


def test_missing_runs_leave_a_dash_and_are_named(folders):
    (folders.exp / "good-1" / "scores_all").unlink()
    for seed in range(3):
        (folders.exp / f"fair-{seed}" / "timing.jsonl").unlink()
        (folders.exp / f"fair-{seed}" / "scores_all").unlink()
    table = tabulate(experiment([claim("good", "fair"), claim("good", "fair", "seconds_to_dev_eer")]), folders, 20)
    assert folders.exp / "good-1" / "scores_all" in table.missing and len(table.missing) == 7
    assert table.cells["good", "all"].by_seed[1] is None and table.cells["fair", "all"].mean is None
    assert [finding.verdict for _, (finding,) in table.findings] == ["undecided", "undecided"]
    section = markdown(table, ORIGIN)
    assert "| fair | –; paper 8.5 % |" in section and ", –, " in section


def test_without_speakers_there_is_no_verdict(folders):
    (folders.data / "utt2spk").rename(folders.data / "labels")
    columns = [{"name": "all", "trials": "trials"}]
    table = tabulate(experiment([claim("good", "fair")], columns=columns), folders, 20)
    ((_, (finding,)),) = table.findings
    assert finding.verdict == "undecided" and finding.difference is None and "utt2spk" in finding.why
    assert "No interval for all: no utt2spk" in markdown(table, ORIGIN)


def test_embeddings_of_other_utterances_are_refused(folders):
    write_ark_scp(folders.exp / "fair-1", "dvector", {"s00-u0": np.ones(3, np.float32), "s00-u1": np.ones(3, np.float32)})
    with pytest.raises(DataError, match="not those of the other runs"):
        tabulate(experiment(), folders, 20)


@pytest.mark.parametrize("change, message", [
    ({"title": "a --> b"}, "title"),
    ({"seeds": [1, 1]}, "stands twice"),
    ({"claims": [claim("good", "god")]}, "did you mean 'good'"),
    ({"claims": [claim("good", "good")]}, "two systems"),
    ({"claims": [claim("good", "control", "accuracy")]}, "both systems need"),
    ({"claims": [claim("good", "control", "seconds_to_dev_eer")]}, "need timing"),
    ({"claims": [claim("good", "fair", "speed")]}, "metric"),
    ({"claims": [claim("good", "fair", columns=["al"])]}, "no column"),
    ({"systems": [{"name": "a", "scores": "a/scores"}]}, "need {seed}"),
    ({"systems": [{"name": "a", "scores": "{seed}", "deterministic": True}]}, "deterministic"),
    ({"systems": [{"name": "a", "scores": "{seed}", "paper": [1, 2, 3]}]}, "3 values for 2 columns"),
    ({"columns": [{"name": "a"}]}, "needs trials"),
    ({"columns": [{"name": "a", "trials": "t"}, {"name": "A", "trials": "t"}]}, "column key"),
])  # fmt: skip
def test_what_does_not_fit_together_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        experiment(**change) if "claims" not in change else build(Experiment, {**table_of(), **change}, "test.toml")


def section_of(title, text):
    return f"<!-- sv-tabulate: {title} -->\n{text}\n<!-- end of sv-tabulate: {title} -->\n"


def test_a_replaced_section_leaves_other_text_alone(tmp_path):
    path = tmp_path / "RESULTS.md"
    path.write_text("# Results\r\n\n| row |\n")
    for title in ("A", "B"):
        replace_section(path, title, section_of(title, "first"))
    with open(path, "a") as stream:
        stream.write("\n| later |\n")
    before = path.read_bytes()
    replace_section(path, "A", section_of("A", "second, longer\nthan the first"))
    assert path.read_bytes() == before.replace(b"first", b"second, longer\nthan the first", 1)
    replace_section(path, "A", section_of("A", "first"))
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", [
    "<!-- sv-tabulate: A -->\n", "<!-- end of sv-tabulate: A -->\n", 2 * section_of("A", "x"),
    "<!-- end of sv-tabulate: A -->\n<!-- sv-tabulate: A -->\n",
])  # fmt: skip
def test_broken_marks_are_refused_and_nothing_is_written(tmp_path, text):
    path = tmp_path / "RESULTS.md"
    path.write_text(text)
    with pytest.raises(DataError, match="once each"):
        replace_section(path, "A", section_of("A", "new"))
    assert path.read_text() == text


def test_a_file_that_is_no_text_is_refused_by_name(tmp_path):
    (tmp_path / "RESULTS.md").write_bytes("# Ergebnisse für".encode("latin-1"))
    with pytest.raises(DataError, match="RESULTS.md: not UTF-8 text .byte 14."):
        replace_section(tmp_path / "RESULTS.md", "A", section_of("A", "new"))


def test_charts_show_each_mean_thick_and_each_seed_thin(folders, tmp_path):
    assert write_learning_charts(tmp_path / "charts", tabulate(experiment(), folders, 20))
    for axis in ("steps", "seconds"):
        svg = (tmp_path / "charts" / f"dev-eer-by-{axis}.svg").read_text()
        assert svg.count('stroke-width="0.7"') == 3 * len(QUALITY)
        assert svg.count(">fair</text>") == 1
    rows = [line.split(",") for line in (tmp_path / "charts" / "dev-eer.csv").read_text().splitlines()]
    assert len(rows) == 1 + len(QUALITY) * 4 * 3
    means = {(row[0], row[2]): float(row[4]) for row in rows if row[1] == "mean"}
    assert means["good", "20"] == pytest.approx(0.19)


def test_a_mean_stands_where_all_seeds_were_validated():
    first = np.array([10, 20, 30]), np.array([1.0, 2.0, 3.0]), np.array([0.3, 0.2, 0.1])
    second = np.array([20, 30, 40]), np.array([4.0, 5.0, 6.0]), np.array([0.4, 0.3, 0.2])
    steps, seconds, eers = mean_course([first, second])
    assert (steps.tolist(), seconds.tolist()) == ([20, 30], [3.0, 4.0])
    assert eers == pytest.approx([0.3, 0.2])
