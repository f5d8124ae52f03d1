"""The training loop: draw, embed, compare, step; validate on held-out speakers; save enough to resume.

A step depends on the configuration, the weights and the step number alone: batches and dropout are drawn
from generators seeded by (seed, step).  That, and checkpoints that hold every tensor, make a run that was
killed and started again end with the same bits as one that was not.

Between two log lines a step never waits for the device: numbers are summed there, a loss that is not finite
freezes the weights there, and the host learns of both at the next log line.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sv_toolkit.errors import ModelError, examples
from sv_toolkit.losses.output import LossOutput, with_consistency
from sv_toolkit.losses.total import TotalLoss
from sv_toolkit.models.network import SpeakerNetwork
from sv_toolkit.models.normalization import MaskedBatchNorm
from sv_toolkit.training import resume
from sv_toolkit.training.batches import Batch, Source, Step
from sv_toolkit.training.collapse import REPORTS, collapsed
from sv_toolkit.training.config import TrainConfig
from sv_toolkit.training.gradient import accumulate_gradient
from sv_toolkit.training.optimizer import Average, Totals, Watch, make_optimizer
from sv_toolkit.training.processes import Processes
from sv_toolkit.training.schedules import margin_factor, rate_factor

logger = logging.getLogger("sv_toolkit")


class Reporter(Protocol):
    """Where the progress of a training is reported: log lines, JSON lines, TensorBoard."""

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
        validate: EERs of a network on sets of held-out speakers, which all processes compute together; None without such sets.
        should_stop: asked after every step; a run that is stopped saves a checkpoint first.
        job: configuration and digests of the data; a checkpoint of another job is refused.
        processes: those that train this model together; the first one reports and saves.
    """

    config: TrainConfig
    network: SpeakerNetwork
    loss: TotalLoss
    steps: Callable[[range], Iterator[Step]]
    validate: Callable[[nn.Module, Processes], dict[str, float]] | None
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
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.buffers = share_statistics(self.network, self.config.trainer.batch_statistics == "all")
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.config.trainer.amp == "fp16")
        self.progress = resume.Progress()
        self.watch, self.totals, self.waited = Watch(self.device), Totals(self.device), 0.0
        self.reports: list[dict[str, float]] = []  # the last of them, for `collapsed`
        self.recent: list[tuple[int, list[tuple[Source, np.ndarray]]]] = []  # utterances of the steps since the last log line
        self.best: dict[str, Tensor] = {}
        self.average = Average(self.network, self.config.trainer.average) if self.config.trainer.average else None
        self.writer = resume.Writer()

    @property
    def model(self) -> SpeakerNetwork:
        """What is validated and published: the network, or the running mean of its weights."""
        return self.average.model if self.average is not None else self.network

    def run(self) -> resume.Progress:
        """Train to the last step, or until stopped; the progress says which."""
        self._restore()
        try:
            self._run()
        finally:
            self.writer.finish()
        return self.progress

    def _run(self) -> None:
        trainer = self.config.trainer
        for step in self.steps(range(self.progress.step, trainer.steps)) if not self.progress.finished else ():
            self._remember(step)
            self.totals.add(self.step(step.batches))
            self.progress.step += 1
            number = self.progress.step
            if self.average is not None:
                self.average.update(number)
            if number % trainer.log_interval == 0 or number == trainer.steps:
                self._report()
            if number % trainer.valid_interval == 0 or number == trainer.steps:
                self._validate()
                if self.progress.finished and self.totals.count:  # stopped early, between two reports
                    self._report()
                self._save(regular=True)
            if self.progress.finished:
                break
            if self.processes.any(self.should_stop(), number):
                self._save(regular=False)
                break

    def step(self, batches: list[Batch]) -> dict[str, Tensor]:
        """One update by the weighted sum of the losses of all sources (Wan et al. 2018, Eq. 12); numbers for the log.

        Where a loss or gradient is not finite, the weights stay as they were, from this step on.
        """
        self._follow_schedule()
        self.network.train()
        self.loss.train()
        self.optimizer.zero_grad(set_to_none=True)
        numbers = combined([(batch.source, self._backward(batch)) for batch in batches])
        self.processes.sum_gradients(self.network, self.loss)
        self.processes.average(self.buffers)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.optimizer.clip)
        self.watch.note(self.progress.step, numbers["loss"], None if self.scaler.is_enabled() else norm)
        if self.optimizer.param_groups[0]["fused"] and not self.scaler.is_enabled():
            self.optimizer.found_inf = self.watch.found  # type: ignore[attr-defined]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return {**numbers, "gradient_norm": norm}

    def _follow_schedule(self) -> None:
        step, steps, schedule = self.progress.step, self.config.trainer.steps, self.config.schedule
        for group, rate in zip(self.optimizer.param_groups, self.base_rates):
            group["lr"] = rate * rate_factor(step, steps, schedule)
        for term in self.loss.losses:
            term.margin_factor = margin_factor(step, schedule)

    def _backward(self, batch: Batch) -> dict[str, Tensor]:
        """Add the gradient of one source's loss to what the parameters hold; the loss and what else it says."""
        size = self.config.trainer.chunk_utterances or len(batch.features)
        starts = range(0, len(batch.features), size)

        def embed(chunk: int) -> Tensor:
            seed = self.config.trainer.seed * 1_000_003 + self.progress.step  # dropout of a step depends on the step alone
            torch.manual_seed(seed + 7919 * (batch.rows.start + starts[chunk]))
            with autocast(self.device, self.config.trainer.amp):
                return beside_originals(self.network, batch, slice(starts[chunk], starts[chunk] + size))

        def compare(found: Tensor) -> LossOutput:
            embeddings, *originals = found.chunk(1 if batch.original is None else 2, dim=1)
            output = self.loss(embeddings.unflatten(0, tuple(batch.speakers.shape)), batch.speakers)
            return with_consistency(output, embeddings, originals[0], self.config.augment.consistency) if originals else output

        output = accumulate_gradient(
            embed, len(starts), batch.speakers.numel(), compare, lambda loss: self.scaler.scale(batch.source.weight * loss), self.processes
        )
        cosines = {"target_cosine": output.target_cosine, "nontarget_cosine": output.nontarget_cosine}
        return {"loss": output.loss.detach(), **cosines, **output.extras}

    def _remember(self, step: Step) -> None:
        self.recent.append((self.progress.step, [(batch.source, batch.places) for batch in step.batches]))
        self.waited += step.seconds_waited

    def _refuse_not_finite(self) -> None:
        """Stop where a step since the last log line was not finite.

        Raises:
            ModelError: names the step and utterances of its batch.
        """
        found = self.watch.first()
        if found is None:
            self.recent.clear()
            return
        step, what = found
        batches = dict(self.recent).get(step, [])
        ids = examples([source.examples.name(place) for source, places in batches for place in places.ravel().tolist()], 5)
        raise ModelError(
            f"step {step + 1}: the {what} is not finite (NaN or infinite); batch utterances {ids}; "
            "the last checkpoint is good: lower learning_rate, or check the features of these utterances"
        )

    def _report(self) -> None:
        """Tell the means since the last report; stop a training that has collapsed.

        Raises:
            ModelError: with advice.
        """
        self._refuse_not_finite()
        sums = self.totals.as_floats()
        count = sums.pop("num_steps")
        means = {name: value / count for name, value in sorted(sums.items())}
        means.update(self.loss.summary(), learning_rate=self.optimizer.param_groups[0]["lr"])
        if self.processes.is_first:
            self.reporter.steps(self.progress.step, means, self.waited)
        self.reports = [*self.reports, means][-REPORTS:]
        sentence = collapsed(self.reports)
        if sentence is not None:
            raise ModelError(f"step {self.progress.step}: {sentence}")
        self.totals.restore({})
        self.waited = 0.0

    def _validate(self) -> None:
        """EERs on held-out speakers; decide what is best and whether to stop."""
        self._refuse_not_finite()
        progress, trainer = self.progress, self.config.trainer
        progress.finished = progress.step == trainer.steps
        if self.validate is None:
            return
        eers = self.validate(self.model, self.processes)
        eer = next(iter(eers.values()))
        if progress.best_step == 0 or eer < progress.best_eer:
            progress.best_eer, progress.best_step, progress.stale = eer, progress.step, 0
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
        else:
            progress.stale += 1
        if self.processes.is_first:
            self.reporter.valid(progress.step, eers, progress.best_eer, progress.best_step)
        if trainer.patience and progress.stale >= trainer.patience and not progress.finished:
            logger.info("no lower EER in %d validations: stopped early at step %d", progress.stale, progress.step)
            progress.finished = True

    def _save(self, regular: bool) -> None:
        """Copy everything that a resumed run needs; a thread writes it while the training goes on."""
        self._refuse_not_finite()
        if not self.processes.is_first:
            return
        self.progress.scaler, self.progress.records = self.scaler.state_dict(), self.reporter.records
        self.progress.sums = self.totals.as_floats()
        tensors = {
            **resume.named("network", self.network.state_dict()),
            **resume.named("loss", self.loss.state_dict()),
            **resume.named("best", self.best),
            **(resume.named("model", self.model.state_dict()) if self.average is not None else {}),
            **resume.optimizer_tensors(self.optimizer),
        }
        copies = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
        progress = copy.deepcopy(self.progress)
        self.writer.start(lambda: resume.save_checkpoint(self.folder, progress, copies, self.job, regular))

    def _restore(self) -> None:
        found = resume.load_newest(self.folder, self.job)
        if found is not None:
            self.progress, tensors = found
            self.network.load_state_dict(resume.under("network", tensors))
            self.loss.load_state_dict(resume.under("loss", tensors))
            if self.average is not None:
                self.model.load_state_dict(resume.under("model", tensors))
            self.best = resume.under("best", tensors)
            resume.restore_optimizer(self.optimizer, tensors)
            self.scaler.load_state_dict(self.progress.scaler)
            self.totals.restore(self.progress.sums)
            logger.info("resuming after step %d of %d", self.progress.step, self.config.trainer.steps)
        self.processes.wait()  # nobody writes before all have read
        if self.processes.is_first:
            self.reporter.rewind(self.progress.step, self.progress.records)


def beside_originals(network: SpeakerNetwork, batch: Batch, rows: slice) -> Tensor:
    """Embeddings `(num_rows, dim)`; beside each, in the same row, that of the original crop, where the batch holds it."""
    if batch.original is None:
        return network.raw(batch.features[rows])
    return torch.cat(network.raw(torch.cat([batch.features[rows], batch.original[rows]])).chunk(2), dim=1)


def share_statistics(network: SpeakerNetwork, over_processes: bool) -> list[Tensor]:
    """Let batch normalisation use the statistics of all processes; the running statistics that processes have to average, else."""
    norms = [module for module in network.modules() if isinstance(module, MaskedBatchNorm)]
    for norm in norms:
        norm.over_processes = over_processes
    return [] if over_processes else [buffer for norm in norms for buffer in (norm.running_mean, norm.running_var)]


def combined(found: list[tuple[Source, dict[str, Tensor]]]) -> dict[str, Tensor]:
    """Numbers of a step for the log: of several sources the weighted sum of the losses, the mean cosines, and each one's own by name."""
    if len(found) == 1:
        return found[0][1]
    own = {f"{source.name}.{name}": value for source, numbers in found for name, value in numbers.items() if not name.endswith("cosine")}
    cosines = [name for name in found[0][1] if name.endswith("cosine")]
    means = {name: torch.stack([numbers[name] for _, numbers in found]).mean() for name in cosines}
    return {"loss": torch.stack([source.weight * numbers["loss"] for source, numbers in found]).sum(), **means, **own}


def autocast(device: torch.device, amp: str) -> contextlib.AbstractContextManager[Any]:
    """Mixed precision of the network, or nothing."""
    if amp == "none":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if amp == "bf16" else torch.float16)
