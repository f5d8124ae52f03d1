"""L_BS: the closed form is the double sum of Heo et al. 2019, Eq. 9."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_toolkit.errors import ConfigError
from sv_toolkit.losses.speaker_bases import SpeakerBases, SpeakerBasesConfig, sum_of_cosines
from sv_toolkit.losses.term import LossSize


def double_sum(bases):
    num_speakers = len(bases)
    return sum(
        float(torch.cosine_similarity(bases[i], bases[j], dim=0)) for i in range(num_speakers) for j in range(num_speakers) if j != i
    )


@settings(max_examples=30)
@given(num_speakers=st.integers(2, 9), dim=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_closed_form_agrees_with_the_double_sum(num_speakers, dim, seed):
    bases = torch.randn(num_speakers, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert float(sum_of_cosines(bases)) == pytest.approx(double_sum(bases), rel=1e-10, abs=1e-10)


def test_mean_is_the_mean_cosine_of_all_pairs(embeddings, bases):
    total, mean = (SpeakerBases(SpeakerBasesConfig(reduction), LossSize(11, 7)) for reduction in ("sum", "mean"))
    assert total(embeddings, None, bases).loss.item() == pytest.approx(double_sum(bases), rel=1e-10)
    assert mean(embeddings, None, bases).loss.item() == pytest.approx(double_sum(bases) / 110, rel=1e-10)


def test_gradient_is_right_by_gradcheck(bases):
    assert torch.autograd.gradcheck(sum_of_cosines, (bases.requires_grad_(),))


def test_length_and_rotation_of_the_bases_do_not_matter(bases, generator):
    rotation, _ = torch.linalg.qr(torch.randn(7, 7, dtype=torch.float64, generator=generator))
    lengths = torch.rand(11, 1, dtype=torch.float64, generator=generator) + 0.1
    torch.testing.assert_close(sum_of_cosines(lengths * bases @ rotation), sum_of_cosines(bases), rtol=1e-12, atol=1e-12)


def test_minimum_is_reached_by_bases_that_cancel():
    simplex = torch.eye(4, dtype=torch.float64) - 0.25
    assert float(sum_of_cosines(simplex)) == pytest.approx(-4)


def test_a_basis_of_zeros_is_at_a_right_angle_to_all_others(bases):
    with_zero = torch.cat([bases, torch.zeros(1, 7, dtype=torch.float64)])
    torch.testing.assert_close(sum_of_cosines(with_zero), sum_of_cosines(bases), rtol=1e-12, atol=1e-12)


def test_single_precision_is_enough_for_a_hundred_thousand_speakers(generator):
    bases = torch.randn(100_000, 16, generator=generator)
    size = LossSize(100_000, 16)
    loss = SpeakerBases(SpeakerBasesConfig(), size)(torch.zeros(1, 1, 16), None, bases).loss
    expected = SpeakerBases(SpeakerBasesConfig(), size)(torch.zeros(1, 1, 16), None, bases.double()).loss
    assert abs(loss - expected) < 1e-9


def test_one_training_speaker_is_refused():
    with pytest.raises(ConfigError, match="at least 2 are needed, the training data has 1"):
        SpeakerBases(SpeakerBasesConfig(), LossSize(1, 7))
