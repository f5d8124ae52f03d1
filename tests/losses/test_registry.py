"""The `[loss]` table: one loss or a sum of losses, strict, and the same when written and read again."""

from __future__ import annotations

import json

import pytest
import torch

from sv_toolkit.config import as_table
from sv_toolkit.errors import ConfigError
from sv_toolkit.losses.center import CenterConfig
from sv_toolkit.losses.ge2e import Ge2eConfig
from sv_toolkit.losses.registry import LOSSES, LossNeeds, loss_config, loss_needs, loss_table, make_loss
from sv_toolkit.losses.term import LossSize

HEO = {"terms": [{"name": "softmax"}, {"name": "center", "weight": 0.001, "alpha": 0.5}, {"name": "speaker_bases", "weight": 2}]}


def test_without_a_table_the_loss_is_ge2e_as_published():
    (term,) = loss_config({}, "x").terms
    assert (term.name, term.weight, term.options) == ("ge2e", 1.0, Ge2eConfig())


def test_a_single_loss_may_stand_without_a_list():
    (term,) = loss_config({"name": "ge2e", "method": "contrast"}, "x").terms
    assert term.weight == 1 and term.options.method == "contrast"


def test_a_sum_names_its_losses_weights_and_options():
    terms = loss_config(HEO, "x").terms
    assert [(term.name, term.weight) for term in terms] == [("softmax", 1.0), ("center", 0.001), ("speaker_bases", 2.0)]
    assert terms[1].options == CenterConfig(alpha=0.5)


def test_needs_are_those_of_the_most_demanding_loss():
    assert loss_needs(loss_config({}, "x")) == LossNeeds(2, 2, "speakers")
    assert loss_needs(loss_config(HEO, "x")) == LossNeeds(1, 1, None)
    assert loss_needs(loss_config({"terms": [*HEO["terms"], {"name": "triplet"}]}, "x")) == LossNeeds(2, 2, "speakers")
    assert loss_needs(loss_config({"name": "te2e"}, "x")) == LossNeeds(1, 2, "tuples")


def test_a_made_loss_draws_its_bases_with_torchs_generator():
    def bases(seed):
        torch.manual_seed(seed)
        return make_loss(loss_config(HEO, "x"), LossSize(5, 4)).bases

    assert torch.equal(bases(1), bases(1)) and not torch.equal(bases(1), bases(2))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_a_table_survives_writing_and_reading(name, weight):
    terms = [{"name": name, "weight": weight}] + ([{"name": "softmax"}] if name == "speaker_bases" else [])
    config = loss_config({"terms": terms}, "x")
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
        ({"name": "speaker_bases"}, "x: speaker_bases teaches the network nothing"),
        ({"terms": [{"name": "ge2e"}, {"name": "te2e"}]}, "x: ge2e, te2e cannot be added up: they need batches of speakers and of tuples"),
        ({"name": "aam_softmax", "easy_margin": 1}, "x: easy_margin needs true or false"),
        ({"name": "center", "alpha": 0}, r"x: alpha must be in \(0, 1\], got 0"),
        ({"name": "triplet", "negatives": "soft"}, "x: negatives must be one of hard, semi-hard, all, got 'soft'"),
        ({"name": "all_speaker_hard", "num_hardest": 0}, "x: num_hardest .H. must be at least 1, got 0"),
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
