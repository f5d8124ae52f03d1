"""Center loss against Heo et al. 2019, Eqs. 2 and 3; centers move in training, by the equation and by nothing else."""

from __future__ import annotations

import pytest
import torch

from sv_toolkit.losses.center import Center, CenterConfig, center_losses, moved_centers
from sv_toolkit.losses.term import LossSize

SIZE = LossSize(11, 7)


@pytest.fixture
def centers(generator):
    return torch.randn(11, 7, dtype=torch.float64, generator=generator)


def make(centers, **options):
    term = Center(CenterConfig(**options), SIZE).double()
    term.centers.copy_(centers)
    return term


@pytest.mark.parametrize(("reduction", "divisor"), [("mean", 20), ("sum", 1)])
def test_loss_agrees_with_the_papers_sum(embeddings, mixed_speakers, centers, reduction, divisor):
    pairs = zip(embeddings.flatten(0, 1), mixed_speakers.flatten())
    expected = sum(0.5 * sum(float(x) ** 2 for x in e - centers[y]) for e, y in pairs) / divisor
    assert make(centers, reduction=reduction)(embeddings, mixed_speakers).loss.item() == pytest.approx(expected, rel=1e-10)


def test_centers_move_by_the_papers_equation_after_the_loss_is_taken(embeddings, mixed_speakers, centers):
    term = make(centers, alpha=0.3)
    before = make(centers).eval()(embeddings, mixed_speakers).loss
    assert term(embeddings, mixed_speakers).loss == before
    flat, labels = embeddings.flatten(0, 1), mixed_speakers.flatten()
    for k in range(11):
        belongs = [1.0 if y == k else 0.0 for y in labels]
        delta = sum(d * (centers[k] - e) for d, e in zip(belongs, flat)) / (1 + sum(belongs))
        torch.testing.assert_close(term.centers[k], centers[k] - 0.3 * delta, rtol=1e-12, atol=1e-12)


def test_speakers_outside_the_batch_keep_their_centers_and_no_center_has_a_gradient(embeddings, centers):
    term = make(centers)
    output = term(embeddings.requires_grad_(), torch.full((5, 4), 3))
    output.loss.backward()
    kept = [k for k in range(11) if k != 3]
    assert torch.equal(term.centers[kept], centers[kept]) and not torch.equal(term.centers[3], centers[3])
    assert list(term.parameters()) == [] and not term.centers.requires_grad
    torch.testing.assert_close(embeddings.grad, (embeddings.detach() - centers[3]) / 20)


def test_outside_training_nothing_moves(embeddings, mixed_speakers, centers):
    term = make(centers).eval()
    term(embeddings, mixed_speakers)
    assert torch.equal(term.centers, centers)


def test_centers_approach_the_mean_of_their_speakers(embeddings, speakers):
    term = make(torch.zeros(11, 7))
    for _ in range(60):
        term(embeddings, speakers)
    torch.testing.assert_close(term.centers[speakers[:, 0]], embeddings.mean(dim=1))


def test_centers_travel_with_the_state_and_change_precision_with_the_module(centers):
    other = Center(CenterConfig(), SIZE)
    other.load_state_dict(make(centers).float().state_dict())
    assert other.centers.dtype == torch.float32
    torch.testing.assert_close(other.centers, centers.float())


def test_gradient_is_right_by_gradcheck(embeddings, centers):
    assert torch.autograd.gradcheck(lambda e: center_losses(e, centers[:5]), (embeddings[:, 0].clone().requires_grad_(),))


def test_shifting_the_space_shifts_the_centers_and_leaves_the_loss(embeddings, mixed_speakers, centers):
    flat, labels = embeddings.flatten(0, 1), mixed_speakers.flatten()
    shift = torch.linspace(-2, 2, 7, dtype=torch.float64)
    moved, shifted = moved_centers(centers, flat, labels, 0.5), moved_centers(centers + shift, flat + shift, labels, 0.5)
    torch.testing.assert_close(shifted, moved + shift)
    torch.testing.assert_close(center_losses(flat + shift, centers[labels] + shift), center_losses(flat, centers[labels]))
