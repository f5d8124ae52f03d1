from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sv_toolkit.data.trial_audit import audit, describe
from sv_toolkit.data.trials import make

SPEAKERS = {"a-1": "a", "a-2": "a", "b-1": "b", "b-2": "b"}


def trials(*lines):
    pairs = [tuple(line.split()[:2]) for line in lines]
    return make(pairs, [line.split()[2] == "target" for line in lines], Path("trials"))


GOOD = ("a-1 a-2 target", "a-1 b-1 nontarget", "b-1 b-2 target")


def test_a_good_list_has_counts_and_no_problem():
    found = audit(trials(*GOOD), SPEAKERS, {"c-1": "c"})
    assert found.problems == []
    assert found.counts == {"trials": 3, "enroll ids": 2, "test ids": 3, "target": 2, "nontarget": 1, "speakers": 2}
    assert trials(*GOOD).short_hash in describe(trials(*GOOD), found.counts)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a-1 a-2 target", ["trials:4", "duplicates", "a-1 a-2"]),
        ("a-1 a-1 target", ["trials:4", "itself", "a-1 a-1"]),
        ("a-2 a-1 target", ["trials:4", "other order", "a-2 a-1"]),
        ("a-1 b-2 target", ["trials:4", "contradict", "a-1 b-2"]),
        ("b-2 a-2 nontarget", []),
        ("x-1 a-2 nontarget", ["trials:4", "enrollment ids are unknown", "x-1"]),
        ("a-2 x-1 nontarget", ["trials:4", "test ids are unknown", "x-1"]),
    ],
)
def test_a_bad_line_is_one_finding_at_its_place(line, words):
    found = audit(trials(*GOOD, line), SPEAKERS)
    problems = [str(problem) for problem in [*found.problems, *found.notes]]
    assert bool(found.notes) == ("other order" in words)
    assert len(problems) == bool(words), problems
    assert all(word in problems[0] for word in words), problems


def test_what_training_has_seen_is_counted():
    problems = audit(trials(*GOOD), SPEAKERS, {"b-1": "b", "b-9": "b", "c-1": "c"}).problems
    assert [problem.what for problem in problems] == [
        "1 of 2 speakers are in the training data, too: b",
        "1 of 4 utterances are in the training data, too: b-1",
    ]


def test_models_stand_for_their_speaker():
    listed = trials("m1 a-2 target", "m1 b-1 nontarget", "m2 a-2 nontarget")
    assert audit(listed, SPEAKERS, models={"m1": ["a-1"], "m2": ["b-2"]}).problems == []
    problems = audit(listed, SPEAKERS, models={"m1": ["a-1", "a-2"], "m2": ["a-1", "b-2"]}).problems
    text = "\n".join(map(str, problems))
    assert "itself" in text  # a-2 is in m1
    assert "m2" in text
    assert "more than one speaker" in text
    assert "m1 a-2" in text


def test_lists_without_labels_are_audited_too():
    listed = make([("a-1", "a-2"), ("a-2", "a-1")], None, Path("trials"))
    found = audit(listed, SPEAKERS)
    assert not found.problems and len(found.notes) == 1
    assert "target" not in found.counts


def test_many_trials_are_audited_quickly(rng):
    ids = [f"s{i // 10:03d}-{i % 10}" for i in range(600)]
    first, second = np.triu_indices(600, 1)
    pairs = [(ids[i], ids[j]) for i, j in zip(first, second)]
    listed = make(pairs, [a[:4] == b[:4] for a, b in pairs], Path("trials"))
    assert audit(listed, {key: key[:4] for key in ids}).problems == []
