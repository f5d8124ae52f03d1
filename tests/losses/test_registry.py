"""The `[loss]` table: one loss or a sum of losses, strict, and the same when written and read again."""

from __future__ import annotations

import json

import pytest

from sv_toolkit.config import as_table
from sv_toolkit.errors import ConfigError
from sv_toolkit.losses.ge2e import Ge2eConfig
from sv_toolkit.losses.registry import LOSSES, LossNeeds, loss_config, loss_needs, loss_table

SUM = {"terms": [{"name": "ge2e", "weight": 0.5, "method": "contrast"}]}


def test_without_a_table_the_loss_is_ge2e_as_published():
    (term,) = loss_config({}, "x").terms
    assert (term.name, term.weight, term.options) == ("ge2e", 1.0, Ge2eConfig())


def test_a_single_loss_may_stand_without_a_list():
    (term,) = loss_config({"name": "ge2e", "method": "contrast"}, "x").terms
    assert term.weight == 1 and term.options.method == "contrast"


def test_needs_are_those_of_the_most_demanding_loss():
    assert loss_needs(loss_config({}, "x")) == LossNeeds(2, 2, "speakers")


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_a_table_survives_writing_and_reading(name, weight):
    config = loss_config({"terms": [{"name": name, "weight": weight}]}, "x")
    assert loss_config(json.loads(json.dumps(loss_table(config))), "x") == config
    assert as_table(config)["terms"][0]["name"] == name


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "x: a table of keys is needed, got list"),
        ({"name": "gee2e"}, "x: no loss 'gee2e'; known: .*ge2e"),
        ({"name": 3}, "x: name needs a text, got '?3"),
        ({"name": "ge2e", "weight": 1.0}, "x: unknown key 'weight'"),
        ({"name": "ge2e", "method": "hinge"}, "x: method must be one of softmax, contrast, got 'hinge'"),
        ({"name": "ge2e", "terms": []}, "x: 'name' stands beside terms"),
        ({"terms": []}, "x: terms needs at least one loss"),
        ({"terms": {"name": "ge2e"}}, "x: terms needs a list of tables"),
        ({"terms": ["ge2e"]}, r"x: terms\[0\]: a table with the name of a loss is needed, got 'ge2e'"),
        ({"terms": [{"weight": 1.0}]}, r"x: terms\[0\]: a table with the name of a loss is needed"),
        ({"terms": [{"name": "ge2e"}, {"name": "nll"}]}, r"x: terms\[1\]: no loss 'nll'"),
        ({"terms": [{"name": "ge2e"}, {"name": "ge2e"}]}, "x: a loss stands twice in terms: ge2e, ge2e"),
        ({"terms": [{"name": "ge2e", "weight": 0}]}, r"x: terms\[0\]: weight must be positive, got 0"),
        ({"terms": [{"name": "ge2e", "weight": float("nan")}]}, r"x: terms\[0\]: weight needs a finite number"),
        ({"terms": [{"name": "ge2e", "weight": "1"}]}, r"x: terms\[0\]: weight needs a number, got str '1'"),
        ({"terms": [{"name": "ge2e", "marigin": 1}]}, r"x: terms\[0\]: unknown key 'marigin'"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(table, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        loss_config(table, "x")
