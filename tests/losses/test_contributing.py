"""The loss that CONTRIBUTING.md adds in ten minutes works as it stands there."""

from __future__ import annotations

import re
import sys
import textwrap
import types
from pathlib import Path

import pytest
import torch

from sv_toolkit.losses.registry import LOSSES, loss_config, make_loss
from sv_toolkit.losses.term import LossSize

GUIDE = (Path(__file__).resolve().parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture
def example(monkeypatch):
    """The file of the first place, and the line of the second one in the registry."""
    source = textwrap.dedent(re.search(r"   ```python\n(.*?)   ```", GUIDE, re.DOTALL).group(1))
    module = types.ModuleType("sv_toolkit.losses.example")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source, "CONTRIBUTING.md", "exec"), module.__dict__)
    name, config, term = re.search(r'`"(\w+)": \((\w+), (\w+)\),`', GUIDE).groups()
    monkeypatch.setitem(LOSSES, name, (getattr(module, config), getattr(module, term)))
    return name, source


def test_the_example_is_a_loss_that_can_be_named_added_up_and_learned_from(example, embeddings, speakers):
    name, _ = example
    assert f'`[loss] name = "{name}"`' in GUIDE
    total = make_loss(loss_config({"terms": [{"name": name}, {"name": "softmax", "weight": 0.1}]}, "x"), LossSize(11, 7)).double()
    output = total(embeddings.requires_grad_(), speakers)
    output.loss.backward()
    assert embeddings.grad.abs().sum() > 0 and f"{name}.loss" in output.extras
    assert len(total.scalar_parameters()) == 2


def test_the_example_agrees_with_a_loop_over_pairs(example, embeddings, speakers):
    total = make_loss(loss_config({"name": example[0]}, "x"), LossSize(11, 7)).double()
    scale, offset = (total.summary()[key] for key in ("scale", "offset"))
    vectors, labels, losses = embeddings.flatten(0, 1), speakers.flatten(), []
    for a in range(20):
        for b in range(a):
            score = scale * torch.cosine_similarity(vectors[a], vectors[b], dim=0) + offset
            losses.append(torch.log1p(torch.exp(-score if labels[a] == labels[b] else score)))
    torch.testing.assert_close(total(embeddings, speakers).loss, torch.stack(losses).mean(), rtol=1e-10, atol=0)


def test_a_loss_needs_at_most_forty_lines_beside_its_equation(example):
    _, source = example
    body = source[source.index("@dataclass") :]
    assert len([line for line in body.splitlines() if line.strip()]) <= 40
