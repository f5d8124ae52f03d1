"""AM- and AAM-softmax against their equations; the margin is safe at every angle."""

from __future__ import annotations

import math

import pytest
import torch

from sv_toolkit.errors import ConfigError
from sv_toolkit.losses.margin_softmax import AamSoftmax, AamSoftmaxConfig, AmSoftmax, AmSoftmaxConfig, aam_target
from sv_toolkit.losses.term import LossSize

SIZE = LossSize(11, 7)


def cosine(a, b):
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def slow_loss(embeddings, speakers, bases, scale, target):
    """Eqs. 4 and 5 of Heo et al., with `target` for cos - m."""
    total = 0.0
    for e, y in zip(embeddings.flatten(0, 1), speakers.flatten().tolist()):
        own = math.exp(scale * target(cosine(bases[y], e)))
        others = sum(math.exp(scale * cosine(bases[j], e)) for j in range(len(bases)) if j != y)
        total -= math.log(own / (own + others))
    return total / speakers.numel()


def slow_aam(margin, easy_margin=False):
    def target(value):
        angle = math.acos(value)
        if easy_margin:
            return math.cos(angle + margin) if angle < math.pi / 2 else value
        return math.cos(angle + margin) if angle + margin < math.pi else value - margin * math.sin(margin)

    return target


def test_am_softmax_agrees_with_the_papers_equations(embeddings, mixed_speakers, bases):
    term = AmSoftmax(AmSoftmaxConfig(scale=5.0, margin=0.35), SIZE)
    expected = slow_loss(embeddings, mixed_speakers, bases, 5.0, lambda value: value - 0.35)
    assert term(embeddings, mixed_speakers, bases).loss.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("easy_margin", [False, True])
@pytest.mark.parametrize("margin", [0.2, 1.3])
def test_aam_softmax_agrees_with_its_definition_by_angles(embeddings, mixed_speakers, bases, margin, easy_margin):
    term = AamSoftmax(AamSoftmaxConfig(scale=5.0, margin=margin, easy_margin=easy_margin), SIZE)
    expected = slow_loss(embeddings, mixed_speakers, bases, 5.0, slow_aam(margin, easy_margin))
    assert term(embeddings, mixed_speakers, bases).loss.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    "make", [lambda m: AmSoftmax(AmSoftmaxConfig(margin=m), SIZE), lambda m: AamSoftmax(AamSoftmaxConfig(margin=m), SIZE)]
)
def test_a_margin_factor_multiplies_the_margin(embeddings, mixed_speakers, bases, make):
    halved, half, none = make(0.4), make(0.2), make(0.0)
    halved.margin_factor = 0.5
    arguments = embeddings, mixed_speakers, bases
    torch.testing.assert_close(halved(*arguments).loss, half(*arguments).loss, rtol=1e-14, atol=1e-14)
    halved.margin_factor = 0.0
    torch.testing.assert_close(halved(*arguments).loss, none(*arguments).loss, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("make", [AmSoftmax, AamSoftmax])
def test_gradient_is_right_by_gradcheck(embeddings, mixed_speakers, bases, make):
    term = make((AmSoftmaxConfig if make is AmSoftmax else AamSoftmaxConfig)(scale=4.0), SIZE)
    assert torch.autograd.gradcheck(lambda e, w: term(e, mixed_speakers, w).loss, (embeddings.requires_grad_(), bases.requires_grad_()))


@pytest.mark.parametrize("make", [AmSoftmax, AamSoftmax])
def test_length_of_embeddings_and_bases_does_not_matter(embeddings, mixed_speakers, bases, generator, make):
    term = make((AmSoftmaxConfig if make is AmSoftmax else AamSoftmaxConfig)(), SIZE)
    stretched = embeddings * torch.rand(5, 4, 1, dtype=torch.float64, generator=generator).add(0.1)
    expected = term(embeddings, mixed_speakers, bases).loss
    torch.testing.assert_close(term(stretched, mixed_speakers, 3 * bases).loss, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("easy_margin", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_target_and_its_slope_are_finite_at_every_cosine_and_past_the_ends(dtype, easy_margin):
    past = torch.tensor([1.0, -1.0, 1 + 2e-7, -1 - 2e-7, 0.0, 1 - 1e-12, -1 + 1e-12], dtype=dtype).requires_grad_()
    target = aam_target(past, 0.2, easy_margin)
    (slope,) = torch.autograd.grad(target.sum(), past)
    assert torch.isfinite(target).all() and torch.isfinite(slope).all() and (slope > 0).all()


def test_target_falls_wherever_the_cosine_falls():
    cosines = torch.linspace(-1, 1, 20001, dtype=torch.float64)
    assert (aam_target(cosines, 0.5).diff() > 0).all()


def test_an_embedding_on_its_basis_or_opposite_gives_a_finite_gradient(bases):
    raw = torch.stack([bases[2], -bases[2]])[:, None].clone().requires_grad_()
    AamSoftmax(AamSoftmaxConfig(), SIZE)(raw, torch.tensor([[2], [2]]), bases).loss.backward()
    assert torch.isfinite(raw.grad).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AmSoftmaxConfig(scale=0.0), "scale .s. must be positive, got 0"),
        (lambda: AmSoftmaxConfig(margin=-0.1), "margin .m. must be at least 0, got -0.1"),
        (lambda: AamSoftmaxConfig(margin=28.6), "radians"),
        (lambda: AamSoftmaxConfig(reduction="max"), "reduction must be one of mean, sum"),
    ],
)
def test_impossible_options_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
