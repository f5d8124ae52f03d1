"""What holds for every loss in the registry: it learns, and no batch that the sampler may draw breaks it."""

from __future__ import annotations

import pytest
import torch

from sv_toolkit.losses.registry import LOSSES, loss_entry
from sv_toolkit.losses.term import LossSize
from sv_toolkit.losses.total import TotalLoss

SIZE = LossSize(11, 7)
MODES = [(name, {}) for name in LOSSES] + [
    ("ge2e", {"method": "contrast"}),
    ("ge2e", {"centroid": "inclusive"}),
    ("ge2e", {"centroid": "split"}),
    ("triplet", {"negatives": "semi-hard"}),
    ("triplet", {"negatives": "all"}),
    ("aam_softmax", {"easy_margin": True}),
    ("all_speaker_hard", {"num_hardest": 2}),
]
every_loss = pytest.mark.parametrize(("name", "options"), MODES, ids=lambda value: value if isinstance(value, str) else "-".join(value))


def make(name, options):
    config_class, term_class = loss_entry(name)
    torch.manual_seed(0)
    return TotalLoss({name: (1.0, term_class(config_class(**options), SIZE))}, SIZE)


def batch(name, num_speakers=5, num_utterances=4, seed=3):
    """Embeddings with some of each speaker in them, and classes as the loss's sampler gives them."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(num_speakers, 1, 7, generator=generator) + torch.randn(num_speakers, num_utterances, 7, generator=generator)
    speakers = torch.randperm(11, generator=generator)[:num_speakers, None].repeat(1, num_utterances)
    if loss_entry(name)[1].sampler == "tuples":
        speakers[::2, 0] = (speakers[::2, 0] + 1) % 11
    return embeddings, speakers


def gradients(loss, embeddings, speakers):
    embeddings = embeddings.clone().requires_grad_()
    value = loss(embeddings, speakers).loss
    value.backward()
    found = [p.grad for p in (embeddings, *loss.parameters()) if p.grad is not None]
    assert torch.isfinite(value) and found and all(torch.isfinite(gradient).all() for gradient in found)
    return found


@every_loss
def test_descending_its_gradient_lowers_it(name, options):
    embeddings, speakers = batch(name)
    embeddings.requires_grad_()
    loss = make(name, options)
    optimizer = torch.optim.SGD([embeddings, *loss.parameters()], lr=0.1)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        output = loss(embeddings, speakers)
        values.append(output.loss.item())
        output.loss.backward()
        optimizer.step()
    assert values[-1] < values[0]


@every_loss
@pytest.mark.parametrize("size", [(2, 2), (2, 3), (3, 2)])
def test_the_smallest_batches_have_finite_gradients(name, options, size):
    gradients(make(name, options), *batch(name, *size))


@every_loss
def test_embeddings_of_zeros_have_gradients_that_are_finite_and_small(name, options):
    embeddings, speakers = batch(name)
    for spoiled in (torch.zeros_like(embeddings), embeddings.index_fill(0, torch.tensor([1]), 0.0), embeddings.clone()):
        spoiled[2, 3] = 0
        assert max(gradient.abs().max() for gradient in gradients(make(name, options), spoiled, speakers)) < 100


@every_loss
def test_equal_embeddings_of_everybody_have_finite_gradients(name, options):
    embeddings, speakers = batch(name)
    gradients(make(name, options), torch.ones_like(embeddings), speakers)
    gradients(make(name, options), embeddings[:, :1].repeat(1, 4, 1), speakers)


@every_loss
def test_opposite_utterances_of_one_speaker_have_finite_gradients(name, options):
    embeddings, speakers = batch(name)
    gradients(make(name, options), torch.cat([embeddings[:, :2], -embeddings[:, :2]], dim=1), speakers)


@every_loss
def test_the_order_of_the_rows_does_not_matter(name, options):
    embeddings, speakers = batch(name)
    loss = make(name, options).double().eval()
    order = [2, 4, 0, 1, 3]
    expected = loss(embeddings.double(), speakers).loss
    torch.testing.assert_close(loss(embeddings.double()[order], speakers[order]).loss, expected, rtol=1e-12, atol=1e-12)


@every_loss
def test_the_embeddings_that_it_is_given_stay_as_they_are(name, options):
    embeddings, speakers = batch(name)
    kept = embeddings.clone(), speakers.clone()
    gradients(make(name, options), embeddings, speakers)
    assert torch.equal(embeddings, kept[0]) and torch.equal(speakers, kept[1])


@every_loss
def test_its_state_is_all_that_it_remembers(name, options):
    loss, again = make(name, options), make(name, options)
    loss(*batch(name))
    with torch.no_grad():
        for parameter in loss.parameters():
            parameter.add_(0.1)
    again.load_state_dict(loss.state_dict())
    other = batch(name, seed=8)
    assert torch.equal(loss(*other).loss, again(*other).loss)


@every_loss
def test_single_precision_agrees_with_double(name, options):
    embeddings, speakers = batch(name)
    single = make(name, options)(embeddings, speakers).loss
    double = make(name, options).double()(embeddings.double(), speakers).loss
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    assert single.item() == pytest.approx(double.item(), rel=1e-5, abs=1e-6)


@every_loss
def test_what_it_logs_are_single_numbers(name, options):
    loss = make(name, options)
    output = loss(*batch(name))
    for value in (output.target_cosine, output.nontarget_cosine, *output.extras.values()):
        assert value.dim() == 0 and not value.requires_grad and torch.isfinite(value)
    assert all(isinstance(value, float) for value in loss.summary().values())


@every_loss
def test_what_it_makes_lies_on_the_device_of_the_embeddings(name, options):
    loss, (embeddings, speakers) = make(name, options), batch(name)
    with torch.device("meta"):  # a tensor made without a device has no numbers, and cannot meet one that has
        output = loss(embeddings.requires_grad_(), speakers)
        output.loss.backward()
    numbers = output.loss, output.target_cosine, output.nontarget_cosine, *output.extras.values()
    assert {number.device.type for number in numbers} == {"cpu"}
