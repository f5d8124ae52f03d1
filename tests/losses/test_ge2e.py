"""GE2E against the paper's loops (Wan et al. 2018, Eqs. 5-10), by gradcheck, and for its invariances."""

from __future__ import annotations

import math

import pytest
import torch

from sv_toolkit.errors import ConfigError
from sv_toolkit.losses.ge2e import CENTROIDS, Ge2e, Ge2eConfig, exclusive_cosines, ge2e_contrast, ge2e_softmax, split_cosines
from sv_toolkit.losses.term import LossSize

SIZE = LossSize(0, 16)


def cosine(a, b):
    return (a @ b) / (a.norm() * b.norm())


def members(centroid, j, i, k, num_utterances):
    """The utterances of speaker k whose centroid utterance i of speaker j is scored against."""
    return {
        "exclusive": [m for m in range(num_utterances) if k != j or m != i],
        "inclusive": range(num_utterances),
        "split": [m for m in range(num_utterances) if m % 2 != i % 2],
    }[centroid]


def slow_similarity(embeddings, scale, offset, centroid="exclusive"):
    """Eqs. 4, 5, 8 and 9, as they stand."""
    num_speakers, num_utterances, _ = embeddings.shape
    unit = embeddings / embeddings.norm(dim=-1, keepdim=True)
    similarity = torch.zeros(num_speakers, num_utterances, num_speakers, dtype=embeddings.dtype)
    for j in range(num_speakers):
        for i in range(num_utterances):
            for k in range(num_speakers):
                others = [unit[k, m] for m in members(centroid, j, i, k, num_utterances)]
                similarity[j, i, k] = scale * cosine(unit[j, i], sum(others) / len(others)) + offset
    return similarity


def slow_loss(similarity, method):
    """Eqs. 6 (with the errata) and 7, summed as in Eq. 10."""
    num_speakers, num_utterances, _ = similarity.shape
    total = 0.0
    for j in range(num_speakers):
        for i in range(num_utterances):
            row = similarity[j, i]
            if method == "softmax":
                total = total - row[j] + math.log(sum(math.exp(value) for value in row))
            else:
                hardest = max(torch.sigmoid(row[k]) for k in range(num_speakers) if k != j)
                total = total + 1 - torch.sigmoid(row[j]) + hardest
    return total


@pytest.fixture(params=["random", "clustered", "opposed"])
def embeddings(request):
    torch.manual_seed(3)
    noise = torch.randn(6, 4, 16, dtype=torch.float64)
    centers = torch.randn(6, 1, 16, dtype=torch.float64)
    return {
        "random": noise,
        "clustered": 5 * centers + noise,
        "opposed": centers * torch.tensor([1, -1, 1, -1])[None, :, None] + 0.1 * noise,
    }[request.param]


@pytest.mark.parametrize("centroid", CENTROIDS)
@pytest.mark.parametrize("method", ["softmax", "contrast"])
def test_loss_agrees_with_the_papers_loops(embeddings, method, centroid):
    module = Ge2e(Ge2eConfig(method=method, centroid=centroid, reduction="sum"), SIZE).double()
    expected = slow_loss(slow_similarity(embeddings, module.scale.item(), module.offset.item(), centroid), method)
    assert module(embeddings).loss.item() == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("centroid", CENTROIDS)
@pytest.mark.parametrize("num_utterances", [2, 3, 4])
def test_similarity_agrees_with_the_papers_loops(embeddings, centroid, num_utterances):
    embeddings = embeddings[:, :num_utterances]
    expected = slow_similarity(embeddings, 10, -5, centroid)
    torch.testing.assert_close(10 * CENTROIDS[centroid](embeddings) - 5, expected, rtol=1e-10, atol=1e-10)


def test_halves_of_two_utterances_are_each_others_centroid(embeddings):
    cosines = split_cosines(embeddings[:, :2])
    pairs = torch.cosine_similarity(embeddings[:, 0], embeddings[:, 1], dim=-1)
    for i in (0, 1):
        torch.testing.assert_close(cosines[:, i].diagonal(), pairs)


@pytest.mark.parametrize("centroid", CENTROIDS)
@pytest.mark.parametrize("method", [ge2e_softmax, ge2e_contrast])
def test_gradient_is_right_by_gradcheck(method, centroid):
    torch.manual_seed(5)
    raw = torch.randn(3, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: method(10 * CENTROIDS[centroid](x) - 5).sum(), (raw,))


def test_gradient_reaches_scale_and_offset_by_gradcheck():
    torch.manual_seed(6)
    embeddings = torch.randn(3, 2, 5, dtype=torch.float64)
    module = Ge2e(Ge2eConfig(), SIZE).double()
    cosines = exclusive_cosines(embeddings)

    def loss(raw, offset):
        return ge2e_softmax(torch.nn.functional.softplus(raw) * cosines + offset).sum()

    assert torch.autograd.gradcheck(loss, (module.raw_scale, module.offset.double().requires_grad_()))


@pytest.mark.parametrize("method", ["softmax", "contrast"])
def test_loss_does_not_change_when_speakers_or_utterances_change_places(embeddings, method):
    module = Ge2e(Ge2eConfig(method=method), SIZE).double()
    moved = embeddings[torch.randperm(6)][:, torch.randperm(4)]
    torch.testing.assert_close(module(embeddings).loss, module(moved).loss, rtol=1e-12, atol=1e-12)


def test_loss_does_not_change_when_the_space_is_rotated_or_embeddings_are_stretched(embeddings):
    module = Ge2e(Ge2eConfig(), SIZE).double()
    rotation, _ = torch.linalg.qr(torch.randn(16, 16, dtype=torch.float64))
    stretched = embeddings * torch.rand(6, 4, 1, dtype=torch.float64).add(0.5)
    torch.testing.assert_close(module(embeddings).loss, module(stretched @ rotation).loss, rtol=1e-10, atol=1e-10)


def test_negative_cosines_keep_their_gradient():
    raw = torch.tensor([[[1.0, 0.0], [-1.0, 0.1]], [[0.0, 1.0], [0.1, -1.0]]], dtype=torch.float64, requires_grad=True)
    cosines = exclusive_cosines(raw)
    assert cosines[0, 0, 0] < 0
    (gradient,) = torch.autograd.grad(cosines[0, 0, 0], raw)
    assert gradient[0, 1].abs().sum() > 0


def test_scale_stays_positive_however_hard_it_is_pushed_down():
    module = Ge2e(Ge2eConfig(), SIZE)
    optimizer = torch.optim.SGD([module.raw_scale], lr=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        (module.scale * 10).backward()
        optimizer.step()
    assert module.scale.item() > 0


def test_initial_scale_and_offset_are_the_configured_ones():
    module = Ge2e(Ge2eConfig(scale=7.5, offset=-3.25), SIZE)
    assert module.scale.item() == pytest.approx(7.5, rel=1e-6)
    assert module.offset.item() == -3.25


def test_mean_is_the_sum_over_the_number_of_utterances(embeddings):
    mean, total = Ge2e(Ge2eConfig(), SIZE).double(), Ge2e(Ge2eConfig(reduction="sum"), SIZE).double()
    assert total(embeddings).loss.item() == pytest.approx(24 * mean(embeddings).loss.item(), rel=1e-12)


def test_logged_cosines_are_the_means_over_own_and_other_speakers(embeddings):
    output = Ge2e(Ge2eConfig(), SIZE).double()(embeddings)
    cosines = exclusive_cosines(embeddings)
    own = torch.stack([cosines[j, :, j] for j in range(6)]).mean()
    others = torch.stack([cosines[j, :, k] for j in range(6) for k in range(6) if k != j]).mean()
    torch.testing.assert_close(output.target_cosine, own)
    torch.testing.assert_close(output.nontarget_cosine, others)


def test_opposed_pair_with_a_vanishing_centroid_gives_a_finite_gradient():
    raw = torch.tensor([[[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0], [0.0, -1.0]]], requires_grad=True)
    Ge2e(Ge2eConfig(), SIZE)(raw).loss.backward()
    assert torch.isfinite(raw.grad).all()


@pytest.mark.parametrize("cosines", [exclusive_cosines, split_cosines])
def test_one_utterance_per_speaker_is_refused(cosines):
    with pytest.raises(ValueError, match="at least 2 utterances"):
        cosines(torch.randn(3, 1, 4))


@pytest.mark.parametrize("options", [{"method": "hinge"}, {"centroid": "median"}, {"scale": 0.0}, {"reduction": "max"}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError):
        Ge2eConfig(**options)
