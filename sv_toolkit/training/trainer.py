"""The training loop: draw, embed, compare, step; look at held-out speakers; remember enough to go on.

A step depends on the configuration, the weights and the step number alone: batches and dropout are drawn
from generators seeded by (seed, step).  That, and checkpoints that hold every tensor, make a run that was
killed and started again end with the same bits as one that was not.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sv_toolkit.errors import ModelError, examples
from sv_toolkit.losses.output import LossOutput
from sv_toolkit.training import resume
from sv_toolkit.training.batches import Batch
from sv_toolkit.training.config import OptimizerConfig, TrainConfig
from sv_toolkit.training.schedules import rate_factor

logger = logging.getLogger("sv_toolkit")


class Reporter(Protocol):
    """Who hears of the training: log lines, JSON lines, TensorBoard."""

    def rewind(self, step: int) -> None:
        """Forget what was reported after `step`."""

    def steps(self, step: int, means: dict[str, float], waited: float) -> None:
        """Means over the steps since the last report."""

    def valid(self, step: int, eer: float, best_eer: float, best_step: int) -> None:
        """An EER on held-out speakers."""


@dataclass
class Trainer:
    """One training; `run` does it all.

    Attributes:
        batches: the batches of a range of steps, in order.
        validate: EER of the network on held-out speakers, or None without them.
        should_stop: asked after every step; a run that is stopped saves a checkpoint first.
        job: configuration and digests of the data; a checkpoint of another job is refused.
    """

    config: TrainConfig
    network: nn.Module
    loss: nn.Module
    batches: Callable[[range], Iterator[Batch]]
    validate: Callable[[nn.Module], float] | None
    folder: Path
    job: dict[str, Any]
    device: torch.device
    reporter: Reporter
    should_stop: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        self.network.to(self.device)
        self.loss.to(self.device)
        self.optimizer = make_optimizer(self.network, self.loss, self.config.optimizer)
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.config.trainer.amp == "fp16")
        self.progress = resume.Progress()
        self.waited = 0.0
        self.best: dict[str, Tensor] = {}
        self.model = copy.deepcopy(self.network) if self.config.trainer.average else self.network

    def run(self) -> resume.Progress:
        """Train to the last step, or until stopped; the progress says which."""
        self._restore()
        trainer = self.config.trainer
        for batch in self.batches(range(self.progress.step, trainer.steps)) if not self.progress.finished else ():
            self._count(self.step(batch), batch)
            self.progress.step += 1
            self._average()
            step = self.progress.step
            if step % trainer.log_interval == 0 or step == trainer.steps:
                self._report()
            if step % trainer.valid_interval == 0 or step == trainer.steps:
                self._look()
                self._save(regular=True)
            if self.progress.finished:
                break
            if self.should_stop():
                self._save(regular=False)
                break
        return self.progress

    def step(self, batch: Batch) -> tuple[LossOutput, Tensor]:
        """One update; the loss and the norm of the gradient before clipping.

        Raises:
            ModelError: a loss or gradient that is not finite; the weights are as they were before this step.
        """
        options = self.config.trainer
        factor = rate_factor(self.progress.step, options.steps, self.config.schedule)
        for group, rate in zip(self.optimizer.param_groups, self.base_rates):
            group["lr"] = rate * factor
        torch.manual_seed(options.seed * 1_000_003 + self.progress.step)  # dropout of a step depends on the step alone
        self.network.train()
        features = torch.from_numpy(batch.features).to(self.device, non_blocking=True)
        lengths = None if batch.lengths is None else torch.from_numpy(batch.lengths).to(self.device)
        with autocast(self.device, options.amp):
            embeddings = self.network(features, lengths)
        output = self.loss(embeddings.unflatten(0, (-1, self.config.batch.num_utterances)))
        if not torch.isfinite(output.loss):
            raise self._not_finite("loss", batch)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(output.loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_([p for group in self.optimizer.param_groups for p in group["params"]], self.config.optimizer.clip)
        if not torch.isfinite(norm) and not self.scaler.is_enabled():
            raise self._not_finite("gradient", batch)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return output, norm

    def _average(self) -> None:
        """Move the model towards the weights; early on by more, so that the random start is soon forgotten."""
        if self.model is self.network:
            return
        keep = min(self.config.trainer.average, self.progress.step / (self.progress.step + 9))
        with torch.no_grad():
            for mean, weight in zip(self.model.state_dict().values(), self.network.state_dict().values()):
                mean.lerp_(weight, 1 - keep)

    def _not_finite(self, what: str, batch: Batch) -> ModelError:
        return ModelError(
            f"step {self.progress.step + 1}: the {what} is not finite (NaN or infinite); batch utterances {examples(batch.utterances, 5)}; "
            "the last checkpoint is good: lower learning_rate, or look at the features of these utterances"
        )

    def _count(self, result: tuple[LossOutput, Tensor], batch: Batch) -> None:
        output, norm = result
        numbers = {
            "loss": output.loss.item(),
            "target_cosine": output.target_cosine.item(),
            "nontarget_cosine": output.nontarget_cosine.item(),
            "gradient_norm": norm.item(),
            "num_steps": 1.0,
        }
        for name, value in numbers.items():
            self.progress.sums[name] = self.progress.sums.get(name, 0.0) + value
        self.waited += batch.seconds_waited

    def _report(self) -> None:
        count = self.progress.sums.pop("num_steps")
        means = {name: value / count for name, value in sorted(self.progress.sums.items())}
        means.update(self.loss.summary(), learning_rate=self.optimizer.param_groups[0]["lr"])  # type: ignore[operator]
        self.reporter.steps(self.progress.step, means, self.waited)
        self.progress.sums, self.waited = {}, 0.0

    def _look(self) -> None:
        """EER on held-out speakers; decide what is best and whether to stop."""
        progress, trainer = self.progress, self.config.trainer
        progress.finished = progress.step == trainer.steps
        if self.validate is None:
            return
        eer = self.validate(self.model)
        if progress.best_step == 0 or eer < progress.best_eer:
            progress.best_eer, progress.best_step, progress.stale = eer, progress.step, 0
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
        else:
            progress.stale += 1
        self.reporter.valid(progress.step, eer, progress.best_eer, progress.best_step)
        if trainer.patience and progress.stale >= trainer.patience and not progress.finished:
            logger.info("no better EER in %d looks: stopped early at step %d", progress.stale, progress.step)
            progress.finished = True

    def _save(self, regular: bool) -> None:
        self.progress.scaler = self.scaler.state_dict()
        tensors = {
            **resume.named("network", self.network.state_dict()),
            **resume.named("loss", self.loss.state_dict()),
            **resume.named("best", self.best),
            **(resume.named("model", self.model.state_dict()) if self.model is not self.network else {}),
            **resume.optimizer_tensors(self.optimizer),
        }
        resume.save_checkpoint(self.folder, self.progress, tensors, self.job, regular)

    def _restore(self) -> None:
        found = resume.load_newest(self.folder, self.job)
        if found is not None:
            self.progress, tensors = found
            self.network.load_state_dict(resume.under("network", tensors))
            self.loss.load_state_dict(resume.under("loss", tensors))
            if self.model is not self.network:
                self.model.load_state_dict(resume.under("model", tensors))
            self.best = resume.under("best", tensors)
            resume.restore_optimizer(self.optimizer, tensors)
            self.scaler.load_state_dict(self.progress.scaler)
            logger.info("resuming after step %d of %d", self.progress.step, self.config.trainer.steps)
        self.reporter.rewind(self.progress.step)


def make_optimizer(network: nn.Module, loss: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Three groups of parameters: the network, its projections, and the loss's own (w, b)."""
    slow = list(network.slow_parameters())  # type: ignore[operator]
    slow_ids = {id(parameter) for parameter in slow}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if id(p) not in slow_ids], "lr": config.learning_rate},
        {"params": slow, "lr": config.learning_rate * config.projection_factor},
        {"params": list(loss.parameters()), "lr": config.learning_rate * config.loss_factor, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.name == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.name](groups, weight_decay=config.weight_decay)


def autocast(device: torch.device, amp: str) -> contextlib.AbstractContextManager[Any]:
    """Mixed precision of the network, or nothing."""
    if amp == "none":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if amp == "bf16" else torch.float16)
