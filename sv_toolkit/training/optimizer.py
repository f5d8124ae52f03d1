"""The optimizer of a training, the running mean of its weights, and the watch over its numbers; none of them asks the device."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from sv_toolkit.losses.total import TotalLoss
from sv_toolkit.models.network import SpeakerNetwork
from sv_toolkit.training.config import OptimizerConfig

FUSED = ("cpu", "cuda")  # where fused optimizers leave out a step without asking the device whether to


def make_optimizer(network: SpeakerNetwork, loss: TotalLoss, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Four groups of parameters: the network, its projections, the loss's numbers (w, b) and its weights (speaker bases)."""
    slow = list(network.slow_parameters())
    slow_ids = {id(parameter) for parameter in slow}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if id(p) not in slow_ids], "lr": config.learning_rate},
        {"params": slow, "lr": config.learning_rate * config.projection_factor},
        {"params": loss.scalar_parameters(), "lr": config.learning_rate * config.loss_factor, "weight_decay": 0.0},
        {"params": loss.weight_parameters(), "lr": config.learning_rate},
    ]
    groups = [group for group in groups if group["params"]]
    fused = all(p.device.type in FUSED for group in groups for p in group["params"])
    if config.name == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay, fused=fused)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.name](groups, weight_decay=config.weight_decay, fused=fused)


class Average:
    """A model that follows the weights of a network: Polyak averaging.

    Attributes:
        model: the network whose weights are the running means.
    """

    def __init__(self, network: SpeakerNetwork, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(network)
        for module in self.model.modules():
            if isinstance(module, nn.RNNBase):  # a copy is in pieces, which cuDNN would gather anew at every call
                module.flatten_parameters()
        pairs = list(zip(self.model.state_dict().values(), network.state_dict().values()))
        self._floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counts = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the model towards the weights after step `step` (from 1); early on by more, so that the random start is soon forgotten."""
        keep = min(self.decay, step / (step + 9))
        torch._foreach_lerp_([mean for mean, _ in self._floats], [weight for _, weight in self._floats], 1 - keep)
        for mean, count in self._counts:
            mean.copy_(count)


class Watch:
    """Notices the first step whose loss or gradient is not finite; the host learns of it when it asks, not before.

    Attributes:
        found: scalar float32 on the device, 1 from that step on: fused optimizers leave the weights alone where it is 1.
    """

    def __init__(self, device: torch.device) -> None:
        self._step = torch.full((), -1, dtype=torch.int64, device=device)
        self._is_loss = torch.zeros((), dtype=torch.bool, device=device)
        self.found = torch.zeros((), device=device)

    def note(self, step: int, loss: Tensor, gradient_norm: Tensor | None) -> None:
        """Look at the numbers of a step.

        Args:
            gradient_norm: None where an infinite one is no fault (a loss scaler skips such a step and lowers its scale).
        """
        bad_loss = ~loss.isfinite()
        is_bad = bad_loss if gradient_norm is None else bad_loss | ~gradient_norm.isfinite()
        is_first = is_bad & (self._step < 0)
        self._is_loss = torch.where(is_first, bad_loss, self._is_loss)
        self._step = torch.where(is_first, step, self._step)
        self.found = (self._step >= 0).float()

    def first(self) -> tuple[int, str] | None:
        """The step and what was not finite, or None; waits for the device."""
        step = int(self._step.item())
        return None if step < 0 else (step, "loss" if self._is_loss.item() else "gradient")


class Totals:
    """Sums of a step's numbers since the last log line, on the device."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.names, self.count = device, (), 0
        self._sums = self._zeros(0)

    names: tuple[str, ...]

    def _zeros(self, number: int) -> Tensor:
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        return torch.zeros(number, dtype=dtype, device=self.device)

    def add(self, numbers: dict[str, Tensor]) -> None:
        """Count a step."""
        if not self.names:
            self.names, self._sums = tuple(numbers), self._zeros(len(numbers))
        self._sums += torch.stack([numbers[name].detach().float() for name in self.names])
        self.count += 1

    def as_floats(self) -> dict[str, float]:
        """The sums and `num_steps`; empty before the first step; waits for the device."""
        return {**dict(zip(self.names, self._sums.tolist())), "num_steps": float(self.count)} if self.count else {}

    def restore(self, sums: dict[str, float]) -> None:
        """Put back what `as_floats` gave; nothing to begin anew."""
        known = {name: value for name, value in sums.items() if name != "num_steps"}
        self.names, self.count = tuple(known), int(sums.get("num_steps", 0))
        self._sums = self._zeros(len(known))
        if known:
            self._sums += torch.tensor(list(known.values()), dtype=self._sums.dtype, device=self.device)
