"""The tables of the ready model's card are what the recipe measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "egs/general/v1/local/card_tables.py"
CARD = "# Card\n\n<!-- error rates -->\n<!-- end of error rates -->\ntext\n<!-- costs -->\nold\n<!-- end of costs -->\n<!-- codecs -->\n<!-- end of codecs -->\nend\n"
LISTS = ("an4/test", "keywords/test", "synthetic/test", "readers/halves", "readers/dev", "readers/short")


def result(eer, **more):
    interval = {"low": eer / 2, "high": 2 * eer}
    return {"all trials": {"num_targets": 7, "num_nontargets": 90, "num_speakers": 5, "eer": {"value": eer, "interval": interval}, **more}}


@pytest.fixture
def measured(tmp_path):
    exp = tmp_path / "exp"
    for number, name in enumerate(LISTS, 1):
        (exp / name).mkdir(parents=True)
        (exp / name / "eval.json").write_text(json.dumps(result(number / 100)))
        costs = {"actual_dcf": {"p_target 0.05": 0.33}, "min_dcf": {"p_target 0.05": {"value": 0.3}}}  # as sv-eval --calibrated writes
        (exp / name / "llrs.json").write_text(json.dumps(result(0.1, **costs)))
    (exp / "control/an4/test").mkdir(parents=True)
    (exp / "control/an4/test/eval.json").write_text(json.dumps(result(0.2)))
    codecs = {"results": {"MP3": {"median_cosine": 0.96, "least_cosine": 0.8, "eer": 0.051}}}
    (tmp_path / "codecs.json").write_text(json.dumps(codecs))
    (tmp_path / "CARD.md").write_text(CARD)
    return tmp_path


def test_every_table_is_replaced_and_the_text_between_stays(run, measured):
    for _ in range(2):  # a second time changes nothing
        done = run(SCRIPT, measured / "exp", measured / "codecs.json", measured / "CARD.md")
        assert done.returncode == 0, done.stderr
        text = (measured / "CARD.md").read_text()
        assert "| AN4 test, utterances of 1 to 6 s | 5 | 7 / 90 | 1.00 % [0.50, 2.00] | 20.00 % |" in text
        assert "| held-out readers, pieces of 1.6 s | 5 | 7 / 90 | 6.00 % [3.00, 12.00] | – |" in text
        assert "| Speech Commands test, 1 s | 0.330 | 0.300 | 10 % |" in text and "| MP3 | 0.960 | 0.800 | 5.10 % |" in text
        assert "\ntext\n" in text and text.endswith("end\n") and "old" not in text and text.count("| MP3 |") == 1


def test_a_list_that_was_not_evaluated_and_a_card_without_marks_are_refused(run, measured):
    arguments = (measured / "exp", measured / "codecs.json", measured / "CARD.md")
    (measured / "CARD.md").write_text(CARD.replace("<!-- costs -->\n", ""))
    done = run(SCRIPT, *arguments)
    assert done.returncode == 1 and "<!-- costs -->" in done.stderr and "Traceback" not in done.stderr
    shutil.rmtree(measured / "exp/readers/short")
    done = run(SCRIPT, *arguments)
    assert done.returncode == 1 and "readers/short/eval.json: missing; run stage 8" in done.stderr
