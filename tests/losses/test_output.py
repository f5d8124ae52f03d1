"""The cosines of the log line against their definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sv_toolkit.losses.output import LossOutput, mean_cosines, with_consistency


def means_over_pairs(embeddings, speakers):
    own, others = [], []
    vectors, labels = embeddings.flatten(0, 1), speakers.flatten()
    for a in range(len(vectors)):
        for b in range(len(vectors)):
            if a != b:
                (own if labels[a] == labels[b] else others).append(torch.cosine_similarity(vectors[a], vectors[b], dim=0))
    return torch.stack(own).mean(), torch.stack(others).mean()


def test_mean_cosines_agree_with_the_means_over_all_pairs():
    torch.manual_seed(1)
    embeddings = torch.randn(4, 3, 8)
    expected = means_over_pairs(embeddings, torch.arange(4).repeat_interleave(3))
    torch.testing.assert_close(mean_cosines(embeddings), expected)


def test_mean_cosines_follow_the_speakers_where_rows_mix_them():
    torch.manual_seed(2)
    embeddings, speakers = torch.randn(4, 3, 8), torch.tensor([[7, 7, 9], [2, 2, 2], [9, 0, 7], [0, 2, 5]])
    torch.testing.assert_close(mean_cosines(embeddings, speakers), means_over_pairs(embeddings, speakers))


def test_mean_cosines_are_zero_where_no_pair_exists():
    target, nontarget = mean_cosines(torch.randn(1, 1, 4))
    assert (target.item(), nontarget.item()) == (0, 0)


def test_consistency_adds_one_minus_the_mean_cosine_with_a_gradient_for_both_sides(rng):
    embeddings = torch.tensor(rng.standard_normal((6, 5)), dtype=torch.float64, requires_grad=True)
    clean = torch.tensor(rng.standard_normal((6, 5)), dtype=torch.float64, requires_grad=True)
    own = LossOutput(torch.tensor(1.5), torch.tensor(0.9), torch.tensor(0.1), {"own": torch.tensor(3.0)})
    output = with_consistency(own, embeddings, clean, 2.0)
    cosines = [float(a @ b / (a.norm() * b.norm())) for a, b in zip(embeddings.detach(), clean.detach())]
    assert output.loss.item() == pytest.approx(1.5 + 2 * (1 - np.mean(cosines)), rel=1e-6)
    assert output.extras["own"] == 3 and float(output.extras["original_cosine"]) == pytest.approx(np.mean(cosines), rel=1e-6)
    assert torch.autograd.gradcheck(lambda a, b: with_consistency(own, a, b, 2.0).loss, (embeddings, clean))
