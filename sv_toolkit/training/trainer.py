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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sv_toolkit.errors import ModelError, examples
from sv_toolkit.losses.total import TotalLoss
from sv_toolkit.models.network import SpeakerNetwork
from sv_toolkit.training import resume
from sv_toolkit.training.batches import Batch, Source, Step
from sv_toolkit.training.config import OptimizerConfig, TrainConfig
from sv_toolkit.training.gradient import accumulate_gradient
from sv_toolkit.training.processes import Processes
from sv_toolkit.training.schedules import margin_factor, rate_factor

logger = logging.getLogger("sv_toolkit")


class Reporter(Protocol):
    """Who hears of the training: log lines, JSON lines, TensorBoard."""

    @property
    def records(self) -> dict[str, Any]:
        """Number and digest of what was reported."""

    def rewind(self, step: int, known: dict[str, Any]) -> None:
        """Forget what was reported after `step`; `known` is what `records` was then, empty before the first step."""

    def steps(self, step: int, means: dict[str, float], waited: float) -> None:
        """Means over the steps since the last report."""

    def valid(self, step: int, eers: dict[str, float], best_eer: float, best_step: int) -> None:
        """EERs on sets of held-out speakers; the first decides which model is best."""


@dataclass
class Trainer:
    """One training; `run` does it all.

    Attributes:
        steps: the batches of a range of steps, in order.
        validate: EERs of the network on sets of held-out speakers, or None without them.
        should_stop: asked after every step; a run that is stopped saves a checkpoint first.
        job: configuration and digests of the data; a checkpoint of another job is refused.
        processes: those that train this model together; the first one looks, reports and saves.
    """

    config: TrainConfig
    network: SpeakerNetwork
    loss: TotalLoss
    steps: Callable[[range], Iterator[Step]]
    validate: Callable[[nn.Module], dict[str, float]] | None
    folder: Path
    job: dict[str, Any]
    device: torch.device
    reporter: Reporter
    should_stop: Callable[[], bool] = lambda: False
    processes: Processes = field(default_factory=Processes)

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
        for step in self.steps(range(self.progress.step, trainer.steps)) if not self.progress.finished else ():
            self._count(self.step(step.batches), step)
            self.progress.step += 1
            self._average()
            number = self.progress.step
            if number % trainer.log_interval == 0 or number == trainer.steps:
                self._report()
            if number % trainer.valid_interval == 0 or number == trainer.steps:
                self._look()
                if self.progress.finished and self.progress.sums:  # stopped early, between two reports
                    self._report()
                self._save(regular=True)
            if self.progress.finished:
                break
            if self.processes.any(self.should_stop(), number):
                self._save(regular=False)
                break
        return self.progress

    def step(self, batches: list[Batch]) -> dict[str, Tensor]:
        """One update by the weighted sum of the losses of all sources (Wan et al. 2018, Eq. 12); numbers for the log.

        Raises:
            ModelError: a loss or gradient that is not finite; the weights are as they were before this step.
        """
        self._follow_schedule()
        self.network.train()
        self.loss.train()
        self.optimizer.zero_grad(set_to_none=True)
        numbers = combined([(batch.source, self._descend(batch)) for batch in batches])
        self.processes.sum_gradients(self.network, self.loss)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_([p for group in self.optimizer.param_groups for p in group["params"]], self.config.optimizer.clip)
        if not torch.isfinite(norm) and not self.scaler.is_enabled():
            raise self._not_finite("gradient", batches)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return {**numbers, "gradient_norm": norm}

    def _follow_schedule(self) -> None:
        step, steps, schedule = self.progress.step, self.config.trainer.steps, self.config.schedule
        for group, rate in zip(self.optimizer.param_groups, self.base_rates):
            group["lr"] = rate * rate_factor(step, steps, schedule)
        for term in self.loss.modules():
            if hasattr(term, "margin_factor"):
                term.margin_factor = margin_factor(step, schedule)  # type: ignore[assignment]

    def _descend(self, batch: Batch) -> dict[str, Tensor]:
        """Add the gradient of one source's loss to what the parameters hold; the loss and what else it says."""
        features = torch.from_numpy(batch.features).to(self.device, non_blocking=True)
        lengths = None if batch.lengths is None else torch.from_numpy(batch.lengths).to(self.device)
        speakers = torch.from_numpy(batch.speakers).to(self.device)
        size = self.config.trainer.chunk_utterances or len(features)
        starts = range(0, len(features), size)

        def embed(chunk: int) -> Tensor:
            rows = slice(starts[chunk], starts[chunk] + size)
            seed = self.config.trainer.seed * 1_000_003 + self.progress.step  # dropout of a step depends on the step alone
            torch.manual_seed(seed + 7919 * (batch.rows.start + starts[chunk]))
            with autocast(self.device, self.config.trainer.amp):
                return self.network.raw(features[rows], None if lengths is None else lengths[rows])

        output = accumulate_gradient(
            embed,
            len(starts),
            lambda embeddings: self.loss(embeddings.unflatten(0, tuple(batch.speakers.shape)), speakers),
            lambda loss: self.scaler.scale(batch.source.weight * loss),
            self.processes,
        )
        if not torch.isfinite(output.loss):
            raise self._not_finite("loss", [batch])
        cosines = {"target_cosine": output.target_cosine, "nontarget_cosine": output.nontarget_cosine}
        return {"loss": output.loss.detach(), **cosines, **output.extras}

    def _average(self) -> None:
        """Move the model towards the weights; early on by more, so that the random start is soon forgotten."""
        if self.model is self.network:
            return
        keep = min(self.config.trainer.average, self.progress.step / (self.progress.step + 9))
        with torch.no_grad():
            for mean, weight in zip(self.model.state_dict().values(), self.network.state_dict().values()):
                mean.lerp_(weight, 1 - keep)

    def _not_finite(self, what: str, batches: list[Batch]) -> ModelError:
        ids = examples([utterance for batch in batches for utterance in batch.utterances], 5)
        return ModelError(
            f"step {self.progress.step + 1}: the {what} is not finite (NaN or infinite); batch utterances {ids}; "
            "the last checkpoint is good: lower learning_rate, or look at the features of these utterances"
        )

    def _count(self, numbers: dict[str, Tensor], step: Step) -> None:
        for name, value in {**{name: tensor.item() for name, tensor in numbers.items()}, "num_steps": 1.0}.items():
            self.progress.sums[name] = self.progress.sums.get(name, 0.0) + value
        self.waited += step.seconds_waited

    def _report(self) -> None:
        count = self.progress.sums.pop("num_steps")
        means = {name: value / count for name, value in sorted(self.progress.sums.items())}
        means.update(self.loss.summary(), learning_rate=self.optimizer.param_groups[0]["lr"])
        if self.processes.is_first:
            self.reporter.steps(self.progress.step, means, self.waited)
        self.progress.sums, self.waited = {}, 0.0

    def _look(self) -> None:
        """EERs on held-out speakers; decide what is best and whether to stop."""
        progress, trainer = self.progress, self.config.trainer
        progress.finished = progress.step == trainer.steps
        if self.validate is None:
            return
        eers = self.validate(self.model) if self.processes.is_first else {}
        eer = self.processes.share(next(iter(eers.values()), 0.0))
        if progress.best_step == 0 or eer < progress.best_eer:
            progress.best_eer, progress.best_step, progress.stale = eer, progress.step, 0
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
        else:
            progress.stale += 1
        if self.processes.is_first:
            self.reporter.valid(progress.step, eers, progress.best_eer, progress.best_step)
        if trainer.patience and progress.stale >= trainer.patience and not progress.finished:
            logger.info("no better EER in %d looks: stopped early at step %d", progress.stale, progress.step)
            progress.finished = True

    def _save(self, regular: bool) -> None:
        if not self.processes.is_first:
            return
        self.progress.scaler, self.progress.records = self.scaler.state_dict(), self.reporter.records
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
        self.processes.wait()  # nobody writes before all have read
        if self.processes.is_first:
            self.reporter.rewind(self.progress.step, self.progress.records)


def combined(found: list[tuple[Source, dict[str, Tensor]]]) -> dict[str, Tensor]:
    """Numbers of a step for the log: of several sources the weighted sum of the losses, the mean cosines, and each one's own by name."""
    if len(found) == 1:
        return found[0][1]
    own = {f"{source.name}.{name}": value for source, numbers in found for name, value in numbers.items() if not name.endswith("cosine")}
    means = {name: torch.stack([numbers[name] for _, numbers in found]).mean() for name in ("target_cosine", "nontarget_cosine")}
    return {"loss": torch.stack([source.weight * numbers["loss"] for source, numbers in found]).sum(), **means, **own}


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
    if config.name == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.name](groups, weight_decay=config.weight_decay)


def autocast(device: torch.device, amp: str) -> contextlib.AbstractContextManager[Any]:
    """Mixed precision of the network, or nothing."""
    if amp == "none":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if amp == "bf16" else torch.float16)
