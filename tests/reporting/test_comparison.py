"""Two systems on one list: the numbers are those of the metrics, the block says what they are of."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.data.trials import make
from sv_toolkit.errors import DataError
from sv_toolkit.metrics.detection import equal_error_rate, min_dcf
from sv_toolkit.metrics.intervals import compare_systems
from sv_toolkit.reporting.comparison import compare, comparison_lines
from sv_toolkit.reporting.conditions import Origin
from sv_toolkit.reporting.results import Settings, chosen_costs, curve_statistics

SETTINGS = Settings(chosen_costs((0.5,), ("sre16",)), num_replicates=60, seed=2)


@pytest.fixture
def world(tmp_path, rng):
    """Ten speakers, three utterances each, all pairs; the second system is a noisy copy of the first."""
    ids = [f"s{speaker:02d}-u{number}" for speaker in range(10) for number in range(3)]
    (tmp_path / "utt2spk").write_text("".join(f"{key} {key[:3]}\n" for key in ids))
    pairs = [(a, b) for i, a in enumerate(ids) for b in ids[i + 1 :]]
    is_target = np.array([a[:3] == b[:3] for a, b in pairs])
    first = rng.normal(2.0 * is_target)
    return make(pairs, is_target, tmp_path / "trials"), first, first + rng.normal(size=len(first))


def test_differences_are_those_of_the_metrics(world):
    trials, first, second = world
    origin = Origin.find(trials.path, None, None)
    found = compare(trials, first, second, origin, SETTINGS)
    for numbers, scores in ((found.first, first), (found.second, second)):
        sides = scores[trials.is_target], scores[~trials.is_target]
        assert numbers == {"EER": equal_error_rate(*sides), **{cost.label: min_dcf(*sides, cost.points) for cost in SETTINGS.costs}}
    speakers, _ = origin.speakers(trials)
    sides = (trials.is_target, speakers.enroll, speakers.test)
    assert found.differences == compare_systems(first, second, *sides, curve_statistics(SETTINGS.costs), 60, 2)
    assert list(found.differences) == list(found.first)


def test_the_block_names_both_systems_and_the_way_of_the_difference(world):
    trials, first, second = world
    found = compare(trials, first, second, Origin.find(trials.path, None, None), SETTINGS)
    lines = comparison_lines(found, ("ours", "theirs"), SETTINGS)
    assert lines[0] == "difference: ours - theirs"
    eer = found.differences["EER"]
    assert lines[1].startswith(f"EER       {100 * eer.first:.2f} % - {100 * eer.second:.2f} % = {100 * eer.difference:+.2f} [")
    assert [line.split(" at ")[1] for line in lines[2:4]] == ["p_target 0.5", "sre16"]
    assert "10 speakers resampled 60 times for both systems at once, seed 2" in lines[4]
    assert lines[5] == f"trials    {len(trials)}, list {trials.short_hash}"


def test_small_probabilities_are_not_printed_as_nothing(world):
    trials, first, _ = world
    found = compare(trials, first, -first, Origin.find(trials.path, None, None), SETTINGS)
    assert found.differences["EER"].p_value < 0.001
    assert comparison_lines(found, ("a", "b"), SETTINGS)[1].endswith("p < 0.001")


def test_systems_that_never_differ_get_no_interval_of_no_width(world):
    """Two systems without an error are not known to be equal."""
    trials = world[0]
    found = compare(trials, 1.0 * trials.is_target, 2.0 * trials.is_target, Origin.find(trials.path, None, None), SETTINGS)
    line = comparison_lines(found, ("a", "b"), SETTINGS)[1]
    assert line.endswith("= +0.00, the same in every draw of speakers: this list cannot tell how far they are apart")


@pytest.mark.parametrize("reason", ["no utt2spk", "--num-bootstrap 0"])
def test_without_resampling_the_reason_stands_in_its_place(world, tmp_path, reason):
    trials, first, second = world
    settings = Settings(SETTINGS.costs, 0 if reason.startswith("--") else 60)
    if settings.num_replicates:
        (tmp_path / "utt2spk").unlink()
    found = compare(trials, first, second, Origin.find(trials.path, None, None), settings)
    assert found.differences == {}
    assert f"interval  not available: {reason}" in "\n".join(comparison_lines(found, ("a", "b"), settings))


def test_labels_are_needed(tmp_path):
    trials = make([("a", "b")], None, tmp_path / "trials")
    with pytest.raises(DataError, match="has no labels"):
        compare(trials, np.zeros(1), np.zeros(1), Origin(tmp_path, None, None), SETTINGS)
