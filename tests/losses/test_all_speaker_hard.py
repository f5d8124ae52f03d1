"""L_H against Heo et al. 2019, Eq. 10: exact whatever the blocks, and within memory for 100 000 speakers."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sv_toolkit.errors import ConfigError
from sv_toolkit.losses.all_speaker_hard import AllSpeakerHard, AllSpeakerHardConfig, all_speaker_hard, hardest_speakers
from sv_toolkit.losses.term import LossSize

SIZE = LossSize(11, 7)


def slow_losses(embeddings, labels, bases, num_hardest):
    losses = []
    for e, y in zip(embeddings, labels.tolist()):
        cosines = [float(torch.cosine_similarity(w, e, dim=0)) for w in bases]
        hardest = sorted((cosines[h] for h in range(len(bases)) if h != y), reverse=True)[:num_hardest]
        losses.append([math.log(1 + math.exp(other - cosines[y])) for other in hardest])
    return torch.tensor(losses, dtype=torch.float64)


@pytest.mark.parametrize("num_hardest", [1, 3, 10])  # 1 x 7 is less than 11 bases, 3 x 7 is not: both ways of the products are met
def test_loss_agrees_with_the_papers_sum(embeddings, mixed_speakers, bases, num_hardest):
    expected = slow_losses(embeddings.flatten(0, 1), mixed_speakers.flatten(), bases, num_hardest)
    for reduction, value in (("mean", expected.mean()), ("sum", expected.sum())):
        term = AllSpeakerHard(AllSpeakerHardConfig(num_hardest, reduction), SIZE)
        torch.testing.assert_close(term(embeddings, mixed_speakers, bases).loss, value, rtol=1e-10, atol=1e-10)


def test_more_hardest_than_there_are_others_means_all_others(embeddings, mixed_speakers, bases):
    every, hundred = (AllSpeakerHard(AllSpeakerHardConfig(count), SIZE) for count in (10, 100))
    assert every(embeddings, mixed_speakers, bases).loss == hundred(embeddings, mixed_speakers, bases).loss


@pytest.mark.parametrize("block", [1, 2, 3, 5, 10, 11, 12])
@pytest.mark.parametrize("num_hardest", [1, 4, 10])
def test_blocks_do_not_change_who_is_hardest(embeddings, mixed_speakers, bases, block, num_hardest):
    arguments = embeddings.flatten(0, 1), mixed_speakers.flatten(), bases, num_hardest
    whole, blocked = hardest_speakers(*arguments), hardest_speakers(*arguments, block=block)
    assert torch.equal(blocked, whole)
    assert not (whole == mixed_speakers.flatten()[:, None]).any()


@pytest.mark.parametrize("num_hardest", [1, 8])
def test_gradient_is_right_by_gradcheck(embeddings, mixed_speakers, bases, num_hardest):
    term = AllSpeakerHard(AllSpeakerHardConfig(num_hardest), SIZE)
    assert torch.autograd.gradcheck(lambda e, w: term(e, mixed_speakers, w).loss, (embeddings.requires_grad_(), bases.requires_grad_()))


def test_gradient_reaches_the_own_and_the_hardest_bases_alone(embeddings, bases):
    labels = torch.full((4,), 6)
    hardest = torch.tensor([[1, 2]] * 4)
    all_speaker_hard(embeddings[0], labels, bases.requires_grad_(), hardest).sum().backward()
    assert torch.equal(bases.grad.abs().sum(dim=1) > 0, torch.tensor([k in (1, 2, 6) for k in range(11)]))


def test_equal_bases_are_all_counted(embeddings, mixed_speakers):
    same = torch.ones(11, 7, dtype=torch.float64, requires_grad=True)
    loss = AllSpeakerHard(AllSpeakerHardConfig(4), SIZE)(embeddings, mixed_speakers, same).loss
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2)) and torch.isfinite(same.grad).all()


def test_length_of_embeddings_and_bases_does_not_matter(embeddings, mixed_speakers, bases):
    term = AllSpeakerHard(AllSpeakerHardConfig(3), SIZE)
    lengths = torch.arange(1, 12, dtype=torch.float64)[:, None]
    expected = term(embeddings, mixed_speakers, bases).loss
    torch.testing.assert_close(term(7 * embeddings, mixed_speakers, lengths * bases).loss, expected, rtol=1e-12, atol=1e-12)


class LargestTensor(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation gave back."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.numbers = max(self.numbers, *sizes, 0)
        return result


def test_a_hundred_thousand_speakers_never_make_a_tensor_larger_than_their_bases(generator):
    num_speakers, dim, num_hardest = 100_000, 8, 20
    bases = torch.randn(num_speakers, dim, generator=generator, requires_grad=True)
    embeddings = torch.randn(40, 2, dim, generator=generator, requires_grad=True)
    speakers = torch.randint(num_speakers, (40, 2), generator=generator)
    with LargestTensor() as largest:
        loss = AllSpeakerHard(AllSpeakerHardConfig(num_hardest), LossSize(num_speakers, dim))(embeddings, speakers, bases).loss
        loss.backward()
    assert largest.numbers == bases.numel() < speakers.numel() * num_speakers
    own = torch.nn.functional.normalize(embeddings.detach().flatten(0, 1).double(), dim=-1)
    cosines = own @ torch.nn.functional.normalize(bases.detach().double(), dim=-1).T
    target = cosines.gather(1, speakers.view(-1, 1))
    others = cosines.scatter(1, speakers.view(-1, 1), -2.0).topk(num_hardest).values
    assert loss.item() == pytest.approx(torch.log1p(torch.exp(others - target)).mean().item(), rel=1e-5)


def test_one_training_speaker_is_refused():
    with pytest.raises(ConfigError, match="at least 2 are needed, the training data has 1"):
        AllSpeakerHard(AllSpeakerHardConfig(), LossSize(1, 7))
