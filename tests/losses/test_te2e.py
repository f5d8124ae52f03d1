"""TE2E against the paper's equations, one tuple at a time (Wan et al. 2018, Eqs. 1-3 with the erratum)."""

from __future__ import annotations

import math

import pytest
import torch

from sv_toolkit.errors import ConfigError
from sv_toolkit.losses.te2e import Te2e, Te2eConfig, te2e_losses, tuple_cosines
from sv_toolkit.losses.term import LossSize

SIZE = LossSize(11, 7)


@pytest.fixture
def tuples(speakers):
    """Every second tuple is evaluated with an utterance of another speaker."""
    tuples = speakers.clone()
    tuples[1::2, 0] = 9
    return tuples


def slow_loss(embeddings, speakers, w, b):
    losses = []
    for row, own in zip(embeddings, speakers):
        unit = [vector / math.sqrt(float(vector @ vector)) for vector in row]
        centroid = sum(unit[1:]) / len(unit[1:])
        s = w * float(unit[0] @ centroid) / math.sqrt(float(centroid @ centroid)) + b
        delta = 1 if own[0] == own[1] else 0
        sigmoid = 1 / (1 + math.exp(-s))
        losses.append(delta * (1 - sigmoid) + (1 - delta) * sigmoid)
    return losses


@pytest.mark.parametrize(("reduction", "divisor"), [("mean", 5), ("sum", 1)])
@pytest.mark.parametrize("num_enrollment", [1, 3])
def test_loss_agrees_with_the_papers_equations(embeddings, tuples, reduction, divisor, num_enrollment):
    embeddings, tuples = embeddings[:, : 1 + num_enrollment], tuples[:, : 1 + num_enrollment]
    term = Te2e(Te2eConfig(scale=3.0, offset=-1.0, reduction=reduction), SIZE).double()
    expected = sum(slow_loss(embeddings, tuples, term.scale.item(), term.offset.item())) / divisor
    assert term(embeddings, tuples).loss.item() == pytest.approx(expected, rel=1e-10)


def test_gradient_is_right_by_gradcheck(embeddings):
    is_target = torch.tensor([True, False, True, False, False])
    scale, offset = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (3.0, -1.0))
    assert torch.autograd.gradcheck(
        lambda x, w, b: te2e_losses(w * tuple_cosines(x) + b, is_target), (embeddings.requires_grad_(), scale, offset)
    )


def test_a_step_downhill_brings_targets_together_and_nontargets_apart(embeddings, tuples):
    embeddings.requires_grad_()
    term = Te2e(Te2eConfig(), SIZE).double()
    term(embeddings, tuples).loss.backward()
    before, after = (tuple_cosines(x) for x in (embeddings, embeddings - 1e-3 * embeddings.grad))
    is_target = tuples[:, 0] == tuples[:, 1]
    assert (after > before)[is_target].all() and (after < before)[~is_target].all()


def test_order_of_tuples_and_of_enrollment_utterances_does_not_matter(embeddings, tuples):
    term = Te2e(Te2eConfig(), SIZE).double()
    rows, columns = [3, 1, 0, 4, 2], [0, 3, 1, 2]
    moved = term(embeddings[rows][:, columns], tuples[rows][:, columns]).loss
    torch.testing.assert_close(moved, term(embeddings, tuples).loss, rtol=1e-12, atol=1e-12)


def test_logged_cosines_are_those_of_target_and_nontarget_tuples(embeddings, tuples):
    output = Te2e(Te2eConfig(), SIZE).double()(embeddings, tuples)
    cosines = tuple_cosines(embeddings)
    torch.testing.assert_close(output.target_cosine, cosines[0::2].mean())
    torch.testing.assert_close(output.nontarget_cosine, cosines[1::2].mean())


def test_a_tuple_without_enrollment_is_refused(embeddings):
    with pytest.raises(ValueError, match="at least one enrollment"):
        tuple_cosines(embeddings[:, :1])


def test_impossible_options_are_refused():
    with pytest.raises(ConfigError, match="scale .w. must be positive, got -1"):
        Te2eConfig(scale=-1.0)
