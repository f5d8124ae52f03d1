"""Unit vectors and distances: right, and calm where there is no direction."""

from __future__ import annotations

import torch

from sv_toolkit.losses.vectors import squared_distances, unit


def test_unit_vectors_have_length_one_and_the_same_direction():
    vectors = torch.randn(3, 4, 5, dtype=torch.float64) * torch.tensor([1e-3, 1.0, 1e3])[:, None, None]
    torch.testing.assert_close(unit(vectors) * vectors.norm(dim=-1, keepdim=True), vectors, rtol=1e-12, atol=0)
    torch.testing.assert_close(unit(vectors).norm(dim=-1), torch.ones(3, 4, dtype=torch.float64), rtol=1e-12, atol=0)


def test_gradient_of_unit_vectors_is_right_by_gradcheck():
    assert torch.autograd.gradcheck(unit, (torch.randn(3, 4, dtype=torch.float64, requires_grad=True),))


def test_a_vector_without_direction_becomes_zero_and_takes_no_gradient():
    vectors = torch.tensor([[0.0, 0.0], [1e-7, 0.0], [3.0, 4.0]], requires_grad=True)
    (unit(vectors) * torch.tensor([1.0, 2.0])).sum().backward()
    assert torch.equal(unit(vectors)[:2].detach(), torch.zeros(2, 2)) and torch.equal(vectors.grad[:2], torch.zeros(2, 2))
    assert vectors.grad[2].abs().sum() > 0


def test_what_is_not_finite_stays_visible():
    assert unit(torch.tensor([torch.nan, 1.0])).isnan().all() and unit(torch.tensor([torch.inf, 1.0])).isnan().any()


def test_squared_distances_agree_with_their_definition():
    first, second = torch.randn(3, 5, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    for a in range(3):
        for b in range(4):
            torch.testing.assert_close(squared_distances(first, second)[a, b], sum((first[a] - second[b]) ** 2))
    assert torch.equal(squared_distances(first, first).diagonal(), torch.zeros(3, dtype=torch.float64))
