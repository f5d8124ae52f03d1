"""Learning rate over time, as a factor of the configured rate; pure functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from sv_toolkit.config import Count, OneOf, Options, Share, Size


@dataclass(frozen=True)
class ScheduleConfig(Options):
    """Shape of the learning rate.

    Attributes:
        name: "halving" (the paper: half every `halve_every` steps), "cosine" (to `final_factor` at the last step),
            "linear" (in a straight line to `final_factor`, as Li et al. 2017 train), or "constant".
        halve_every: steps after which "halving" halves the rate.
        final_factor: where "cosine" and "linear" end.
        warmup_steps: the factor first rises in a straight line over so many steps.
        margin_warmup_steps: margins of losses (am_softmax, aam_softmax, triplet) rise from 0 over so many steps.
    """

    name: Annotated[str, OneOf(SHAPES)] = "halving"
    halve_every: Size = 30_000_000
    warmup_steps: Count = 0
    final_factor: Share = 0.0
    margin_warmup_steps: Count = 0


def _halving(step: int, num_steps: int, config: ScheduleConfig) -> float:
    return float(0.5 ** (step // config.halve_every))


def _cosine(step: int, num_steps: int, config: ScheduleConfig) -> float:
    done = min(step / max(num_steps - 1, 1), 1.0)
    return config.final_factor + (1 - config.final_factor) * 0.5 * (1 + math.cos(math.pi * done))


def _linear(step: int, num_steps: int, config: ScheduleConfig) -> float:
    return 1 - (1 - config.final_factor) * min(step / max(num_steps - 1, 1), 1.0)


def _constant(step: int, num_steps: int, config: ScheduleConfig) -> float:
    return 1.0


SHAPES = {"halving": _halving, "cosine": _cosine, "linear": _linear, "constant": _constant}


def rate_factor(step: int, num_steps: int, config: ScheduleConfig) -> float:
    """Factor of the learning rate at `step` (from 0) of `num_steps`."""
    warmup = min((step + 1) / config.warmup_steps, 1.0) if config.warmup_steps else 1.0
    return warmup * SHAPES[config.name](step, num_steps, config)


def margin_factor(step: int, config: ScheduleConfig) -> float:
    """Factor of the margins of losses at `step` (from 0)."""
    return min(step / config.margin_warmup_steps, 1.0) if config.margin_warmup_steps else 1.0
