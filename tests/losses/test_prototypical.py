"""Prototypical losses against loops (Snell et al. 2017, Eqs. 1 and 2; Chung et al. 2020)."""

from __future__ import annotations

import math

import pytest
import torch

from sv_toolkit.losses.prototypical import AngularPrototypical, AngularPrototypicalConfig, Prototypical, PrototypicalConfig
from sv_toolkit.losses.term import LossSize

SIZE = LossSize(0, 7)


def slow_loss(embeddings, similarity):
    """Softmax over the similarities of the last utterance to the mean of the others, summed over the speakers."""
    num_speakers, num_utterances, _ = embeddings.shape
    total = 0.0
    for j in range(num_speakers):
        prototypes = [sum(embeddings[k, m] for m in range(num_utterances - 1)) / (num_utterances - 1) for k in range(num_speakers)]
        values = [similarity(embeddings[j, -1], prototype) for prototype in prototypes]
        total += -values[j] + math.log(sum(math.exp(value) for value in values))
    return total


@pytest.mark.parametrize(("reduction", "divisor"), [("mean", 5), ("sum", 1)])
@pytest.mark.parametrize("num_utterances", [2, 4])
def test_prototypical_agrees_with_squared_distances(embeddings, num_utterances, reduction, divisor):
    embeddings = embeddings[:, :num_utterances]
    expected = slow_loss(embeddings, lambda query, prototype: -sum(float(x) ** 2 for x in query - prototype)) / divisor
    assert Prototypical(PrototypicalConfig(reduction), SIZE)(embeddings).loss.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("reduction", "divisor"), [("mean", 5), ("sum", 1)])
@pytest.mark.parametrize("num_utterances", [2, 4])
def test_angular_prototypical_agrees_with_scaled_cosines(embeddings, num_utterances, reduction, divisor):
    embeddings = embeddings[:, :num_utterances]
    term = AngularPrototypical(AngularPrototypicalConfig(scale=3.0, offset=-1.0, reduction=reduction), SIZE).double()

    def similarity(query, prototype):
        return term.scale.item() * float(torch.cosine_similarity(query, prototype, dim=0)) + term.offset.item()

    unit = embeddings / embeddings.norm(dim=-1, keepdim=True)
    assert term(embeddings).loss.item() == pytest.approx(slow_loss(unit, similarity) / divisor, rel=1e-10)


def test_gradients_are_right_by_gradcheck(embeddings):
    embeddings = embeddings[:3, :3].clone().requires_grad_()
    angular = AngularPrototypical(AngularPrototypicalConfig(), SIZE).double()
    assert torch.autograd.gradcheck(lambda x: Prototypical(PrototypicalConfig(), SIZE)(x).loss, (embeddings,))
    assert torch.autograd.gradcheck(
        lambda x, raw: torch.func.functional_call(angular, {"raw_scale": raw}, (x,)).loss,
        (embeddings, angular.raw_scale.detach().requires_grad_()),
    )


def test_distances_do_not_change_when_the_space_moves_and_cosines_when_it_is_stretched(embeddings, generator):
    rotation, _ = torch.linalg.qr(torch.randn(7, 7, dtype=torch.float64, generator=generator))
    plain, angular = Prototypical(PrototypicalConfig(), SIZE), AngularPrototypical(AngularPrototypicalConfig(), SIZE).double()
    torch.testing.assert_close(plain(embeddings @ rotation + 3).loss, plain(embeddings).loss, rtol=1e-10, atol=1e-10)
    lengths = torch.rand(5, 4, 1, dtype=torch.float64, generator=generator) + 0.1
    torch.testing.assert_close(angular(lengths * embeddings @ rotation).loss, angular(embeddings).loss, rtol=1e-10, atol=1e-10)


def test_order_of_speakers_and_of_the_prototypes_utterances_does_not_matter(embeddings):
    moved = embeddings[[4, 0, 3, 1, 2]][:, [2, 0, 1, 3]]
    for term in (Prototypical(PrototypicalConfig(), SIZE), AngularPrototypical(AngularPrototypicalConfig(), SIZE).double()):
        torch.testing.assert_close(term(moved).loss, term(embeddings).loss, rtol=1e-12, atol=1e-12)
