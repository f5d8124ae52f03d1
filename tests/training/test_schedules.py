"""Learning rates as pure functions of the step."""

from __future__ import annotations

import pytest

from sv_toolkit.errors import ConfigError
from sv_toolkit.training.schedules import ScheduleConfig, margin_factor, rate_factor


def test_halving_halves_every_so_many_steps():
    config = ScheduleConfig("halving", halve_every=10)
    assert [rate_factor(step, 100, config) for step in (0, 9, 10, 19, 20, 35)] == [1, 1, 0.5, 0.5, 0.25, 0.125]


def test_cosine_goes_from_one_to_the_final_factor():
    config = ScheduleConfig("cosine", final_factor=0.1)
    assert rate_factor(0, 101, config) == pytest.approx(1)
    assert rate_factor(50, 101, config) == pytest.approx(0.55)
    assert rate_factor(100, 101, config) == pytest.approx(0.1)


def test_warm_up_rises_in_a_straight_line_and_ends_at_the_schedule():
    config = ScheduleConfig("constant", warmup_steps=4)
    assert [rate_factor(step, 100, config) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]


@pytest.mark.parametrize("options", [{"name": "linear9"}, {"halve_every": 0}, {"warmup_steps": -1}, {"final_factor": 2.0}])
def test_impossible_schedules_are_refused(options):
    with pytest.raises(ConfigError):
        ScheduleConfig(**options)


def test_a_linear_schedule_falls_in_a_straight_line_to_its_end():
    config = ScheduleConfig("linear", final_factor=0.1)
    factors = [rate_factor(step, 11, config) for step in range(11)]
    assert factors == pytest.approx([1 - 0.09 * step for step in range(11)])


def test_margins_rise_in_a_straight_line_and_stay():
    assert [margin_factor(step, ScheduleConfig(margin_warmup_steps=4)) for step in range(7)] == [0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert margin_factor(0, ScheduleConfig()) == 1
