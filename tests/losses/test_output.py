"""The cosines of the log line against their definition."""

from __future__ import annotations

import torch

from sv_toolkit.losses.output import mean_cosines


def test_mean_cosines_agree_with_the_means_over_all_pairs():
    torch.manual_seed(1)
    embeddings = torch.randn(4, 3, 8)
    own, others = [], []
    flat = embeddings.flatten(0, 1)
    for a in range(12):
        for b in range(12):
            if a != b:
                (own if a // 3 == b // 3 else others).append(torch.cosine_similarity(flat[a], flat[b], dim=0))
    target, nontarget = mean_cosines(embeddings)
    torch.testing.assert_close(target, torch.stack(own).mean())
    torch.testing.assert_close(nontarget, torch.stack(others).mean())
