"""GE2E loss, N=64 speakers x M=10 utterances x 256, forward and backward: ours against a loop over speakers.

The loop is the obvious reading of the paper: for every speaker, centroids without each utterance, cosines
with every other centroid.  Rounds alternate in one process, so that a noisy machine hits both alike.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from common import alternate, save

from sv_toolkit.losses.ge2e import Ge2e, Ge2eConfig
from sv_toolkit.losses.term import LossSize


def loop_loss(embeddings, scale, offset):
    num_speakers, num_utterances, _ = embeddings.shape
    centroids = embeddings.mean(dim=1)
    total = embeddings.new_zeros(())
    for j in range(num_speakers):
        for i in range(num_utterances):
            others = torch.cat([embeddings[j, :i], embeddings[j, i + 1 :]]).mean(dim=0)
            row = torch.cat([centroids[:j], others[None], centroids[j + 1 :]])
            similarity = scale * F.cosine_similarity(embeddings[j, i][None], row) + offset
            total = total + F.cross_entropy(similarity[None], torch.tensor([j]))
    return total / (num_speakers * num_utterances)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    embeddings = F.normalize(torch.randn(64, 10, 256), dim=-1).requires_grad_()
    loss = Ge2e(Ge2eConfig(), LossSize(0, 256))
    torch.testing.assert_close(loss(embeddings).loss, loop_loss(embeddings, loss.scale, loss.offset))
    times = alternate(
        {"ours": lambda: loss(embeddings).loss.backward(), "loop": lambda: loop_loss(embeddings, loss.scale, loss.offset).backward()}
    )
    save("ge2e_loss", times, reference="loop", unit="one forward and backward, N=64 M=10 D=256, 1 thread; limit 6 ms")


if __name__ == "__main__":
    main()
