"""Softmax over the training speakers against Heo et al. 2019, Eq. 1."""

from __future__ import annotations

import math

import pytest
import torch

from sv_toolkit.losses.softmax import Softmax, SoftmaxConfig
from sv_toolkit.losses.term import LossSize

SIZE = LossSize(11, 7)


def make(reduction="mean"):
    term = Softmax(SoftmaxConfig(reduction), SIZE).double()
    torch.nn.init.normal_(term.biases, generator=torch.Generator().manual_seed(4))
    return term


@pytest.mark.parametrize(("reduction", "divisor"), [("mean", 20), ("sum", 1)])
def test_loss_agrees_with_the_papers_sum(embeddings, mixed_speakers, bases, reduction, divisor):
    term, expected = make(reduction), 0.0
    biases = term.biases.detach()
    for e, y in zip(embeddings.flatten(0, 1), mixed_speakers.flatten()):
        powers = [math.exp(float(bases[j] @ e + biases[j])) for j in range(11)]
        expected -= math.log(powers[y] / sum(powers)) / divisor
    assert term(embeddings, mixed_speakers, bases).loss.item() == pytest.approx(expected, rel=1e-10)


def test_gradient_is_right_by_gradcheck(embeddings, mixed_speakers, bases):
    term = make()
    assert torch.autograd.gradcheck(
        lambda e, w, b: torch.func.functional_call(term, {"biases": b}, (e, mixed_speakers, w)).loss,
        (embeddings.requires_grad_(), bases.requires_grad_(), term.biases.detach().requires_grad_()),
    )


def test_renaming_the_speakers_changes_nothing(embeddings, mixed_speakers, bases):
    term, order = make(), torch.randperm(11, generator=torch.Generator().manual_seed(1))
    renamed = make()
    renamed.biases.data = term.biases.data[order]
    expected = term(embeddings, order[mixed_speakers], bases).loss
    torch.testing.assert_close(renamed(embeddings, mixed_speakers, bases[order]).loss, expected, rtol=1e-12, atol=1e-12)


def test_enormous_logits_stay_finite(embeddings, mixed_speakers, bases):
    embeddings = (1e4 * embeddings).requires_grad_()
    loss = make()(embeddings, mixed_speakers, bases).loss
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(embeddings.grad).all()
