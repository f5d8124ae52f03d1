"""The weighted sum that the trainer calls: shared bases, one precision, two groups of parameters, and batches it refuses."""

from __future__ import annotations

import pytest
import torch

from sv_toolkit.losses.registry import loss_config, make_loss
from sv_toolkit.losses.term import LossSize

SIZE = LossSize(11, 7)
TERMS = [
    {"name": "softmax"},
    {"name": "center", "weight": 0.01},
    {"name": "speaker_bases", "weight": 2.0},
    {"name": "triplet", "weight": 0.5, "margin": 0.3},
    {"name": "ge2e", "weight": 0.25},
]


def make(*terms):
    torch.manual_seed(0)
    return make_loss(loss_config({"terms": list(terms)}, "x"), SIZE).double()


def test_the_sum_is_that_of_the_weighted_terms_and_so_is_its_gradient(embeddings, speakers):
    total, raw = make(*TERMS), embeddings.requires_grad_()
    expected = sum(total.weights[name] * term(raw, speakers, total.bases).loss for name, term in total.eval().terms.items())
    output = total(raw, speakers)
    torch.testing.assert_close(output.loss, expected, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(torch.autograd.grad(output.loss, [raw, total.bases]), torch.autograd.grad(expected, [raw, total.bases])):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_all_terms_learn_the_same_bases(embeddings, speakers):
    total = make({"name": "softmax"}, {"name": "am_softmax"}, {"name": "all_speaker_hard"}, {"name": "center"})
    assert [name for name, parameter in total.named_parameters() if parameter.shape == (11, 7)] == ["bases"]
    total(embeddings, speakers).loss.backward()
    assert total.bases.grad.abs().sum() > 0


def test_a_single_term_is_the_term_itself(embeddings, speakers):
    total = make({"name": "triplet"})
    output = total(embeddings, speakers)
    alone = total.terms["triplet"](embeddings, speakers, None)
    assert output.loss == alone.loss and output.extras == alone.extras
    assert total.bases is None


def test_a_weight_on_a_single_term_counts_and_its_extras_keep_their_names(embeddings, speakers):
    half, whole = (make({"name": "triplet", "weight": weight})(embeddings, speakers) for weight in (0.5, 1.0))
    assert half.loss == 0.5 * whole.loss and half.extras == whole.extras


def test_the_log_names_the_parts_of_a_sum_by_their_terms(embeddings, speakers):
    total = make({"name": "triplet"}, {"name": "ge2e"})
    output = total(embeddings, speakers)
    assert set(output.extras) == {"triplet.active_share", "triplet.hard_share", "triplet.loss", "ge2e.loss"}
    assert set(total.summary()) == {"ge2e.scale", "ge2e.offset"}
    assert not any(value.requires_grad for value in output.extras.values())
    assert set(make({"name": "ge2e"}).summary()) == {"scale", "offset"}


def test_single_numbers_and_weights_are_told_apart():
    total = make(*TERMS)
    assert {id(p) for p in total.scalar_parameters()} == {id(total.terms["ge2e"].raw_scale), id(total.terms["ge2e"].offset)}
    assert {id(p) for p in total.weight_parameters()} == {id(total.bases), id(total.terms["softmax"].biases)}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_embeddings_are_compared_in_single_precision(embeddings, speakers, dtype):
    total = make(*TERMS).float().eval()
    halves = embeddings.to(dtype).requires_grad_()
    output = total(halves, speakers)
    assert output.loss.dtype == torch.float32
    torch.testing.assert_close(output.loss, total(halves.detach().float(), speakers).loss)
    output.loss.backward()
    assert halves.grad.dtype == dtype


def test_classes_may_be_left_out_where_no_term_needs_them(embeddings, speakers):
    total = make({"name": "ge2e"}, {"name": "triplet"})
    torch.testing.assert_close(total(embeddings).loss, total(embeddings, speakers).loss)
    with pytest.raises(ValueError, match="softmax, ge2e: class indices of the speakers are needed"):
        make({"name": "softmax"}, {"name": "ge2e"})(embeddings)


def test_bases_are_as_long_for_many_speakers_as_for_few():
    few, many = (make_loss(loss_config({"name": "softmax"}, "x"), LossSize(count, 64)).bases for count in (10, 5000))
    assert few.norm(dim=1).mean().item() == pytest.approx(many.norm(dim=1).mean().item(), rel=0.1)


def test_label_losses_need_to_know_the_number_of_speakers():
    with pytest.raises(ValueError, match="number of training speakers"):
        make_loss(loss_config({"name": "center"}, "x"), LossSize(0, 7))
