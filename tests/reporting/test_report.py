"""Pages: whole, the same for the same inputs, and safe whatever the ids are."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import sys
import warnings
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sv_toolkit.data.trials import make
from sv_toolkit.errors import ConfigError, DataError
from sv_toolkit.metrics.detection import equal_error_rate
from sv_toolkit.reporting import report as report_module
from sv_toolkit.reporting.conditions import Origin
from sv_toolkit.reporting.model_sections import shown_speakers
from sv_toolkit.reporting.provenance import Provenance
from sv_toolkit.reporting.report import Inputs, csv_table, html_page, make_report, results_rows, write_charts
from sv_toolkit.reporting.results import Settings, chosen_costs
from sv_toolkit.reporting.score_sections import hardest, score_edges
from sv_toolkit.reporting.systems import Embedded, IdentificationRecord, Identified, Model, System
from sv_toolkit.reporting.training_logs import TrainingLog

SETTINGS = Settings(chosen_costs((), ()), num_replicates=20)
WHEN = Provenance("0123456789", "2030-01-31", "a processor, 2 cores", "7 min 05 s", "./run.sh | tee log")
VOID = {"meta"}
NO_INTERVALS = Settings(chosen_costs((), ()), num_replicates=0)
HOSTILE = ["<script>alert(1)</script>", "\"><img/src=x/onerror=alert(1)>", "</title></style></svg><b>", "javascript:alert(1)", "&lt;b&gt;",
           "--><!--", "]]>", "مكبرصوت", "é̶̢̛͎", "话者" * 90, "x" * 4000, "a\u202eb\x1b[31m\x00", "'`${x}{{x}}"]  # fmt: skip


class Outline(HTMLParser):
    """Elements with their attributes, refused where they are not closed in order; the text between them."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.texts = [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data!r}")

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def system(name, rng, ids=None, shift=2.0, folder=None, is_llr=False):
    """Six speakers, three utterances each, all pairs; the ids may be hostile."""
    ids = ids or [f"s{speaker}-u{number}" for speaker in range(6) for number in range(3)]
    pairs = [(i, j) for i in range(len(ids)) for j in range(i + 1, len(ids))]
    is_target = np.array([i // 3 == j // 3 for i, j in pairs])
    trials = make([(ids[i], ids[j]) for i, j in pairs], is_target, (folder or Path("data")) / "trials")
    origin = Origin.find(trials.path, None, None)
    return System(name, trials, rng.normal(shift * is_target), origin, is_llr, trials.path.with_name("scores"), "ab" * 32)


def model(name, seconds=True):
    steps = np.arange(10.0, 310.0, 10.0)
    curves = {"loss": (steps, 5 * np.exp(-steps / 100)), "dev_eer": (steps[4::5], np.linspace(0.3, 0.1, 6))}
    log = TrainingLog(curves, {int(step): 0.5 * step for step in steps} if seconds else {})
    return Model(name, Path("exp"), {"weights": {"sha256": "cd" * 32}, "architecture": "lstm"}, log, {})


def embedded(name, rng, speakers=("s0", "s1", "s2"), bases=True):
    names = [speaker for speaker in speakers for _ in range(4)]
    return Embedded(name, names, rng.normal(size=(len(names), 5)), {speakers[0]: rng.normal(size=5)} if bases else {})


def page_of(inputs, title="Title"):
    report = make_report(inputs, WHEN)
    return report, html_page(report, title)


def test_one_system_alone_makes_a_page(rng):
    one = system("GE2E", rng)
    report, text = page_of(Inputs([one], [], [], SETTINGS))
    outline = Outline(text)
    assert outline.all("html") == [{"lang": "en"}]
    assert [section["id"] for section in outline.all("section")] == ["results", "curves", "hard", "provenance"]
    rate = f"{100 * equal_error_rate(*one.sides):.2f} %"
    assert rate in text
    assert results_rows(report)[0].startswith(f"| GE2E | {rate}")
    assert one.trials.hash in text
    assert "no utt2spk beside the trial list" in text


def test_trials_have_a_column_only_where_systems_have_different_ones(rng):
    one, two = system("a", rng), system("b", rng)
    fewer = replace(
        two, trials=make([("s0-u0", "s0-u1"), ("s0-u0", "s1-u0")], np.array([True, False]), Path("few")), scores=np.array([2.0, 1.0])
    )
    text = page_of(Inputs([one, two], [], [], NO_INTERVALS))[1]
    assert "Error rates and costs on 18 target and 135 nontarget trials" in text and "Trials: target" not in text
    text = page_of(Inputs([one, fewer], [], [], NO_INTERVALS))[1]
    assert "Error rates and costs on all trials" in text and "18 + 135" in text and "1 + 1" in text


def test_everything_at_once_makes_a_page(rng, tmp_path):
    (tmp_path / "utt2spk").write_text("".join(f"s{i}-u{j} s{i}\n" for i in range(6) for j in range(3)))
    (tmp_path / "utt2keyword").write_text("".join(f"s{i}-u{j} {'no' if j else 'yes'}\n" for i in range(6) for j in range(3)))
    (tmp_path / "utt2dur").write_text("".join(f"s{i}-u{j} {0.5 + 1.5 * j}\n" for i in range(6) for j in range(3)))
    systems = [system(name, rng, folder=tmp_path, is_llr=name == "b") for name in "abcd"]
    inputs = Inputs(systems, [model("a"), model("b", seconds=False)], [embedded("a", rng), embedded("b", rng, bases=False)], SETTINGS)
    report, text = page_of(inputs)
    outline = Outline(text)
    names = [section["id"] for section in outline.all("section")]
    assert names == ["results", "curves", "conditions", "training", "embeddings", "hard", "provenance"]
    charts = {chart.labels.name for chart in report.charts}
    assert charts == {
        "det", *(f"scores-{i}" for i in range(1, 5)), "eer-by-keyword", "eer-by-test-duration", "loss-by-step", "loss-by-seconds",
        "dev-eer-by-step", "dev-eer-by-seconds", "map-1", "map-2", "impostor-cosines",
    }  # fmt: skip
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for link in outline.all("a")} == set(names)
    assert "Differences from a" in text
    assert "Cllr" in text


def test_models_alone_make_a_page(rng):
    report, text = page_of(Inputs([], [model("a")], [], SETTINGS))
    assert [section.name for section in report.sections] == ["training", "provenance"]
    assert results_rows(report) == []
    Outline(text)


def test_every_set_of_held_out_speakers_and_every_accuracy_has_its_curve():
    curve = (np.arange(3.0), np.ones(3))
    names = ["loss", "dev_eer", "dev_eer.<b>", "dev_eer.a b", "dev_eer.a-b", "dev_accuracy", "scale"]
    log = TrainingLog(dict.fromkeys(names, curve), {})
    report, text = page_of(Inputs([], [Model("m", Path("exp"), {}, log, {})], [], SETTINGS))
    assert_harmless(text)
    assert [chart.labels.name for chart in report.charts] == [
        "loss-by-step",
        "dev-eer-by-step",
        *(f"more-{i}-by-step" for i in range(1, 5)),
    ]
    assert report.charts[2].labels.title == "EER of held-out speakers, <b> against steps"


def test_every_chart_has_words_and_its_numbers(rng):
    report, text = page_of(Inputs([system("a", rng)], [model("a")], [embedded("a", rng)], SETTINGS))
    outline = Outline(text)
    charts = [attributes for attributes in outline.all("svg") if attributes.get("role") == "img"]
    assert len(charts) == len(report.charts) == 8
    assert all(len(attributes["aria-labelledby"].split()) == 2 for attributes in charts)
    assert len(outline.all("figure")) == len(charts)
    for chart in report.charts:
        assert chart.numbers.rows
        assert chart.labels.description.endswith((".", "better."))
    headings = [int(name[1]) for name, _ in outline.elements if re.fullmatch("h[1-6]", name)]
    assert headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(headings, headings[1:]))
    assert len(outline.all("caption")) == len(outline.all("table"))


def assert_harmless(text):
    """No script, no handler, no address of anything outside the page, one style sheet."""
    outline = Outline(text)
    names = {name for name, _ in outline.elements}
    assert not names & {"script", "img", "iframe", "object", "embed", "link", "base", "form", "input", "use", "image", "foreignobject"}
    assert len(outline.all("style")) == 1
    for _, attributes in outline.elements:
        assert not [key for key in attributes if key.startswith("on") or key in ("src", "style", "xlink:href", "action", "formaction")]
        assert attributes.get("href", "#").startswith("#")
    assert "url(" not in text.split("</style>")[0]
    return outline


def test_hostile_ids_and_names_stay_text(rng):
    speakers = HOSTILE[:6]
    ids = [f"{speaker}-{number}".replace(" ", "") for speaker in speakers for number in range(3)]
    systems = [system(name, rng, ids) for name in HOSTILE]
    inputs = Inputs(systems, [model(name) for name in HOSTILE], [embedded(name, rng, HOSTILE[:3]) for name in HOSTILE[:2]], NO_INTERVALS)
    report, text = page_of(inputs, HOSTILE[0])
    outline = assert_harmless(text)
    said = "".join(outline.texts)
    assert "<script>alert(1)</script>" in said
    assert "a\\u202eb\\x1b[31m\\x00" in said
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    assert "x" * 200 not in text
    for chart in report.charts:
        ET.fromstring(chart.svg)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(min_size=1, max_size=40), key=st.text(min_size=1, max_size=30).filter(lambda text: text.isprintable() and " " not in text)
)
def test_any_name_and_any_id_leave_the_page_as_it_is(name, key):
    rng = np.random.default_rng(0)
    ids = [f"{key}-{i}-{j}" for i in range(6) for j in range(3)]
    _, text = page_of(Inputs([system(name, rng, ids)], [model(name)], [embedded(name, rng)], NO_INTERVALS), name)
    outline = assert_harmless(text)
    rng = np.random.default_rng(0)
    _, calm = page_of(Inputs([system("calm", rng)], [model("calm")], [embedded("calm", rng)], NO_INTERVALS), "calm")
    outside = {"polyline", "polygon", "path", "line", "text", "tspan"}  # a long legend takes more lines, never other elements
    assert [e for e, _ in outline.elements if e not in outside] == [e for e, _ in Outline(calm).elements if e not in outside]


def test_the_same_inputs_give_the_same_bytes():
    def made():
        rng = np.random.default_rng(1)
        return page_of(Inputs([system("a", rng), system("b", rng)], [model("a")], [embedded("a", rng)], SETTINGS))[1]

    assert made() == made()


def test_a_page_of_many_trials_stays_small(rng):
    ids = [f"s{i // 3}-u{i % 3}" for i in range(450)]
    assert len(system("a", rng, ids).trials) > 100_000
    _, text = page_of(Inputs([system("a", rng, ids)], [], [], NO_INTERVALS))
    assert len(text) < 60_000


def test_hard_trials_are_the_extremes_in_the_order_of_the_list(rng):
    scores = rng.integers(0, 8, 200).astype(float)
    positions = np.flatnonzero(rng.random(200) < 0.5)
    for highest in (False, True):
        slow = sorted(positions.tolist(), key=lambda at: (-scores[at] if highest else scores[at], at))[:12]
        assert hardest(scores, positions, highest, 12).tolist() == slow
    assert hardest(scores, positions[:3], True, 12).tolist() == sorted(positions[:3].tolist(), key=lambda at: (-scores[at], at))


@pytest.mark.parametrize("scores", [[1.0, 1.0], [0.0, 1e300], [-1e308, 1e308], [5e-324, 0.0]])
def test_bins_hold_all_scores_however_far_apart(scores):
    edges, outside = score_edges(np.array(scores))
    assert outside == 0
    assert np.all(np.diff(edges) > 0) or scores == [5e-324, 0.0]
    assert np.isfinite(edges).all()


@pytest.mark.parametrize("kind", ["perfect", "equal", "worst", "two trials", "infinite span"])
def test_extreme_scores_make_a_page(kind):
    rng = np.random.default_rng(0)
    base = system("a", rng)
    is_target = base.trials.is_target
    scores = {
        "perfect": 1.0 * is_target,
        "equal": 0.0 * is_target,
        "worst": -1.0 * is_target,
        "infinite span": 1e308 * np.where(is_target, 1, -1),
    }
    if kind == "two trials":
        base = replace(base, trials=make([("a", "b"), ("a", "c")], [True, False], Path("data/trials")), scores=np.array([1.0, 0.5]))
    else:
        base = replace(base, scores=scores[kind])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report, text = page_of(Inputs([base], [], [], NO_INTERVALS))
    Outline(text)
    assert not re.search(r"\b(nan|inf)\b", text)


def test_weak_results_are_warned_of(rng, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)
    page_of(Inputs([system("a", rng)], [], [], NO_INTERVALS))
    assert "few target trials" in caplog.text


def test_far_outliers_are_counted_not_drawn(rng):
    scores = np.append(rng.normal(size=10_000), [500.0, -400.0])
    edges, outside = score_edges(scores)
    assert outside >= 2
    assert outside == np.count_nonzero((scores < edges[0]) | (scores > edges[-1]))
    assert edges[-1] - edges[0] < 20


def test_speakers_with_bases_come_first_on_a_map():
    speakers, with_basis = [f"s{i % 30}" for i in range(60)], {"s7", "s9"}
    shown = shown_speakers(speakers, with_basis, 5, seed=0)
    assert with_basis <= set(shown)
    assert len(set(shown)) == 5
    assert shown == shown_speakers(speakers[::-1], with_basis, 5, seed=0)
    assert shown != shown_speakers(speakers, with_basis, 5, seed=1)


def test_maps_of_the_same_speakers_show_the_same_ones(rng):
    speakers = [f"s{i}" for i in range(20)]
    inputs = Inputs([], [], [embedded("a", rng, speakers), embedded("b", rng, speakers, bases=False)], SETTINGS)
    first, second = (chart for chart in make_report(inputs, WHEN).charts if chart.labels.name.startswith("map"))
    assert [row[0] for row in first.numbers.rows] == [row[0] for row in second.numbers.rows]


def test_accuracies_are_drawn_against_enrollment_and_listed(rng):
    def record(count, accuracy):
        return IdentificationRecord(count, accuracy, 0.05, 200, 100, 120)

    several = Identified("a", [record(5, 0.9), record(1, 0.8), record(None, 0.7)])
    report, text = page_of(Inputs([], [], [], SETTINGS, [several, Identified("<b>", [record(None, 0.6)])]))
    assert_harmless(text)
    assert [chart.labels.name for chart in report.charts] == ["accuracy-by-enrollment"]
    assert "a from 80 to 90" in report.charts[0].labels.description
    assert [row[:3] for row in report.charts[0].numbers.rows] == [
        ["a", 5, "90.00"], ["a", 1, "80.00"], ["a", "single utterances", "70.00"], ["<b>", "single utterances", "60.00"],
    ]  # fmt: skip
    _, text = page_of(Inputs([], [], [], SETTINGS, [Identified("a", [record(None, 0.6)])]))
    assert "60.00" in text


def test_a_map_of_one_speaker_is_refused(rng):
    with pytest.raises(DataError, match="two speakers"):
        make_report(Inputs([], [], [embedded("e", rng, ("s0",))], SETTINGS), WHEN)


@pytest.mark.parametrize("kind", ["pca", "tsne"])
def test_both_kinds_of_map_are_drawn(rng, kind):
    report = make_report(Inputs([], [], [embedded("e", rng)], SETTINGS, (), kind, 3), WHEN)
    chart = next(chart for chart in report.charts if chart.labels.name == "map-1")
    root = ET.fromstring(chart.svg)
    marks = [path for path in root.iter("{http://www.w3.org/2000/svg}path") if "scale(5.5)" in path.get("transform")]
    assert len(marks) == 3 + 1, "three centroids and the one basis"


def test_the_table_for_spreadsheets_holds_the_numbers_and_no_formula(rng):
    names = ["GE2E", "=HYPERLINK(1)", "+cmd", "-x", "@x", "\tx"]
    systems = [system(name, rng, is_llr=name == "GE2E") for name in names]
    report = make_report(Inputs(systems, [], [], SETTINGS), WHEN)
    rows = list(csv.DictReader(io.StringIO(csv_table(report))))
    eers = {row["system"]: float(row["value"]) for row in rows if row["measure"] == "EER"}
    assert eers == {
        ("'" if name[0] in "=+-@" else "") + name.replace("\t", "\\t"): equal_error_rate(*each.sides) for name, each in zip(names, systems)
    }
    assert {row["system"] for row in rows if row["measure"].startswith("actDCF")} == {"GE2E"}
    assert {row["system"] for row in rows if row["measure"] == "Cllr"} == {"GE2E"}
    assert len({row["system"] for row in rows if row["measure"] == "minCllr"}) == len(names)
    assert not re.search(r"(^|,)[=+@\t]|(^|,)-[^0-9.]", csv_table(report), re.MULTILINE)


def test_charts_are_files_that_stand_alone(rng, tmp_path):
    report = make_report(Inputs([system("a", rng)], [model("a")], [], SETTINGS), WHEN)
    assert write_charts(tmp_path / "charts", report.charts, png=False) == 6
    for chart in report.charts:
        root = ET.parse(tmp_path / "charts" / f"{chart.labels.name}.svg").getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_png_files_are_images_of_the_charts(rng, tmp_path):
    pytest.importorskip("resvg_py")
    report = make_report(Inputs([], [model("a")], [], SETTINGS), WHEN)
    try:
        write_charts(tmp_path, report.charts[:1], png=True)
    except ConfigError as error:
        pytest.skip(str(error))
    data = (tmp_path / "loss-by-step.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(data[16:20], "big") == 400 * report_module.PNG_ZOOM


def test_without_what_draws_png_one_line_says_how_to_install_it(rng, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    report = make_report(Inputs([], [model("a")], [], SETTINGS), WHEN)
    with pytest.raises(ConfigError, match=r"pip install 'sv_toolkit\[report\]'"):
        write_charts(tmp_path / "charts", report.charts, png=True)
    assert not (tmp_path / "charts").exists()


def test_a_description_of_any_depth_is_shown(rng):
    deep: dict = {}
    for _ in range(500):
        deep = {"<b>": deep}
    wide = {f"key{i}": i for i in range(3000)}
    models = [Model("m", Path("exp"), content, None, {}) for content in (deep, wide, json.loads('{"a": [1, {"b": "<i>"}]}'))]
    for each in models:
        _, text = page_of(Inputs([], [each], [], SETTINGS))
        assert_harmless(text)
        assert len(text) < 200_000
