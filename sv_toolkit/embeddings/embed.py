"""Network inputs to utterance d-vectors, windows batched across utterances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from sv_toolkit.embeddings.windows import pieces
from sv_toolkit.models.store import WindowConfig

BATCH = 64  # windows; more are no faster on a CPU: the LSTM is at the limit of its matrix products
GPU_BATCH = 1024  # a GPU is busy from here on


def embed(
    network: nn.Module, inputs: Sequence[np.ndarray], windows: WindowConfig, batch_size: int | None = None, amp: str = "none"
) -> np.ndarray:
    """D-vectors `(len(inputs), embedding_dim)` float32 of unit length.

    Every window gives an L2-normalised vector; their mean, normalised again, is the utterance's
    (Wan et al. 2018, section 3.2; the second norm makes means over utterances weigh each one alike).

    Args:
        inputs: per utterance `(num_frames, feature_dim)` network input, at least one frame.
        batch_size: windows at a time; None: as many as suit the device.
        amp: "bf16" for mixed precision of the network, or "none".
    """
    device = next(network.parameters()).device
    batch_size = batch_size or (BATCH if device.type == "cpu" else GPU_BATCH)
    parts = [pieces(frames, windows) for frames in inputs]
    owners = np.repeat(np.arange(len(inputs)), [len(own) for own in parts])
    flat = [piece for own in parts for piece in own]
    sums: torch.Tensor | None = None
    was_training = network.training
    network.eval()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=amp == "bf16"):
        for rows in _similar_lengths(flat, batch_size):
            vectors = network(*pad([flat[row] for row in rows], device)).float()
            if sums is None:
                sums = torch.zeros(len(inputs), vectors.shape[1], device=device)
            sums.index_add_(0, torch.from_numpy(owners[rows]).to(device), vectors)
    network.train(was_training)
    if sums is None:
        raise ValueError("nothing to embed")
    return torch.nn.functional.normalize(sums, dim=-1).cpu().numpy()


def _similar_lengths(parts: list[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    """Row indices of batches, full windows first, so that little is padded."""
    order = np.argsort([-len(part) for part in parts], kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def pad(parts: Sequence[np.ndarray], device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    """`(batch, longest, dim)` zero-padded at the end, and `(batch,)` lengths, or None where all are equal."""
    lengths = [len(part) for part in parts]
    longest = max(lengths)
    if min(lengths) == longest:
        return torch.from_numpy(np.stack(parts)).to(device), None
    batch = np.zeros((len(parts), longest, parts[0].shape[1]), dtype=np.float32)
    for row, part in enumerate(parts):
        batch[row, : len(part)] = part
    return torch.from_numpy(batch).to(device), torch.tensor(lengths, device=device)
