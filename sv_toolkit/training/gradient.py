"""The gradient of a loss over the whole batch, when the network sees the batch in parts.

Metric losses compare every utterance with every other, so the loss needs all embeddings at once; the network
does not.  Embeddings first, then the loss and its gradient with respect to them, then that gradient through
the network part by part: the chain rule, and so exact.  Parts are chunks that fit in memory, the shares of
several processes, or both.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sv_toolkit.losses.output import LossOutput
from sv_toolkit.training.processes import Processes


def accumulate_gradient(
    embed: Callable[[int], Tensor],
    num_chunks: int,
    num_rows: int,
    loss: Callable[[Tensor], LossOutput],
    scale: Callable[[Tensor], Tensor],
    processes: Processes,
) -> LossOutput:
    """Add the gradient of `scale(loss)` to what the network's and the loss's parameters hold.

    Args:
        num_rows: utterances of the whole batch.
        embed: `embed(i)` gives the embeddings `(num_rows_i, dim)` of chunk i; asked twice, it gives the same.
        loss: of the embeddings `(num_rows, dim)` of the whole batch, those of all processes included.
        scale: multiplies the loss before the gradient is taken (weight of the source, fp16 scale).

    Returns:
        The loss before scaling, the same on every process.
    """
    with torch.set_grad_enabled(num_chunks == 1):
        chunks = [embed(i) for i in range(num_chunks)]
    everything, own = processes.gather(torch.cat(chunks).detach(), num_rows)
    everything.requires_grad_()
    output = loss(everything)
    scale(output.loss).backward()
    assert everything.grad is not None
    gradients = everything.grad[own.start : own.stop].split([len(chunk) for chunk in chunks])
    for i, gradient in enumerate(gradients):
        (chunks[0] if num_chunks == 1 else embed(i)).backward(gradient.to(chunks[i].dtype))
    return output
