"""Triplet loss against loops over anchors, positives and negatives (Li et al. 2017, Eqs. 5 and 6)."""

from __future__ import annotations

import pytest
import torch

from sv_toolkit.losses.term import LossSize
from sv_toolkit.losses.triplet import NEGATIVES, Triplet, TripletConfig

SIZE = LossSize(0, 7)


def make(**options):
    return Triplet(TripletConfig(**options), SIZE)


def slow_triplets(embeddings, negatives):
    """`(s_ap, s_an)` of every triplet that the choice of negatives makes."""
    num_speakers, num_utterances, _ = embeddings.shape
    everyone = [(j, i) for j in range(num_speakers) for i in range(num_utterances)]
    found = []
    for j, i in everyone:
        others = [float(torch.cosine_similarity(embeddings[j, i], embeddings[k, m], dim=0)) for k, m in everyone if k != j]
        for p in range(num_utterances):
            if p != i:
                positive = float(torch.cosine_similarity(embeddings[j, i], embeddings[j, p], dim=0))
                below = [value for value in others if value < positive]
                chosen = {"all": others, "hard": [max(others)], "semi-hard": [max(below)] if below else []}[negatives]
                found += [(positive, value) for value in chosen]
    return found


@pytest.mark.parametrize("num_utterances", [2, 4])
@pytest.mark.parametrize("num_speakers", [2, 5])
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_loss_and_shares_agree_with_the_loops(embeddings, negatives, num_speakers, num_utterances):
    embeddings = embeddings[:num_speakers, :num_utterances]
    triplets = slow_triplets(embeddings, negatives)
    losses = [max(an - ap + 0.25, 0) for ap, an in triplets]
    output = make(margin=0.25, negatives=negatives)(embeddings)
    assert output.loss.item() == pytest.approx(sum(losses) / len(triplets), rel=1e-10)
    assert make(margin=0.25, negatives=negatives, reduction="sum")(embeddings).loss.item() == pytest.approx(sum(losses), rel=1e-10)
    assert output.extras["active_share"].item() == pytest.approx(sum(loss > 0 for loss in losses) / len(triplets))
    assert output.extras["hard_share"].item() == pytest.approx(sum(an > ap for ap, an in triplets) / len(triplets))


def test_semi_hard_negatives_are_never_harder_than_their_positives(embeddings):
    assert make(negatives="semi-hard")(embeddings).extras["hard_share"] == 0


def test_a_batch_without_semi_hard_negatives_has_no_loss_and_no_gradient():
    raw = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]], [[0.0, 1.0], [0.0, -1.0]]], requires_grad=True)  # positives are at -1, negatives at 0
    output = make(negatives="semi-hard")(raw)
    output.loss.backward()
    assert output.loss == 0 and output.extras["active_share"] == 0
    assert torch.equal(raw.grad, torch.zeros_like(raw))


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_gradient_is_right_by_gradcheck(embeddings, negatives):
    term = make(margin=0.5, negatives=negatives)
    assert torch.autograd.gradcheck(lambda x: term(x).loss, (embeddings[:3, :3].clone().requires_grad_(),))


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_order_rotation_and_length_do_not_matter(embeddings, generator, negatives):
    rotation, _ = torch.linalg.qr(torch.randn(7, 7, dtype=torch.float64, generator=generator))
    lengths = torch.rand(5, 4, 1, dtype=torch.float64, generator=generator) + 0.1
    moved = (lengths * embeddings @ rotation)[[4, 0, 3, 1, 2]][:, [2, 3, 0, 1]]
    term = make(negatives=negatives)
    torch.testing.assert_close(term(moved).loss, term(embeddings).loss, rtol=1e-12, atol=1e-12)


def test_well_separated_speakers_have_no_loss_and_no_active_triplet():
    raw = torch.eye(3).repeat_interleave(2, dim=0).view(3, 2, 3)
    output = make()(raw)
    assert output.loss == 0 and output.extras["active_share"] == 0 and output.extras["hard_share"] == 0


def test_identical_embeddings_cost_the_margin_and_are_active_but_not_hard():
    output = make(margin=0.1)(torch.ones(3, 2, 4, dtype=torch.float64))
    assert output.loss.item() == pytest.approx(0.1)
    assert output.extras["active_share"] == 1 and output.extras["hard_share"] == 0


def test_a_margin_factor_multiplies_the_margin(embeddings):
    term = make(margin=0.4)
    term.margin_factor = 0.25
    assert term(embeddings).loss == make(margin=0.1)(embeddings).loss
