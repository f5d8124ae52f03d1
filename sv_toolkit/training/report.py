"""Where the progress of a training is reported: a line to read, JSON lines to plot, TensorBoard where it is installed.

`train.jsonl` holds what the training computed and no wall-clock time, so that two runs of the same training
write the same bytes; times go to the log line, and to a file of their own where asked for.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from pathlib import Path
from typing import Any

from sv_toolkit.errors import MALFORMED, plain
from sv_toolkit.io.files import write_text
from sv_toolkit.training.collapse import drifts_together

logger = logging.getLogger("sv_toolkit")


class Log:
    """The reporter that `sv-train` uses."""

    def __init__(
        self, path: Path, num_steps: int, utterances_per_step: int, timing: Path | None = None, tensorboard: Path | None = None
    ) -> None:
        self.path, self.num_steps, self.utterances_per_step, self.timing = path, num_steps, utterances_per_step, timing
        self.board = _summary_writer(tensorboard)
        self.started = self.last_time = time.perf_counter()
        self.first_step = self.last_step = 0
        self.warned, self.before = False, dict[str, float]()
        self.number, self.digest = 0, hashlib.sha256()

    @property
    def records(self) -> dict[str, Any]:
        """Number and digest of the records that `train.jsonl` holds."""
        return {"number": self.number, "sha256": self.digest.hexdigest()}

    def rewind(self, step: int, known: dict[str, Any]) -> None:
        """Keep the records up to `step`, with a warning where they are not the `known` ones; what follows will be computed again."""
        kept, damaged = [], 0
        for line in self._lines():
            try:
                if json.loads(line.decode("utf-8"))["step"] <= step:
                    kept.append(line.decode("utf-8"))
            except MALFORMED:
                damaged += 1
        if damaged:
            logger.warning("%s: %d damaged lines are left out", plain(self.path), damaged)
        text = "".join(line + "\n" for line in kept)
        write_text(self.path, text)
        self.number, self.digest = len(kept), hashlib.sha256(text.encode())
        if known and known != self.records:
            logger.warning(
                "%s: is not what was written up to step %d: %d records, there were %d; the curves lack the others. --overwrite trains again",
                plain(self.path), step, self.number, known["number"],
            )  # fmt: skip
        self.first_step = self.last_step = step
        self.started = self.last_time = time.perf_counter()

    def _lines(self) -> list[bytes]:
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().split(b"\n")
        return lines[:-1]  # what follows the last newline was cut while it was written

    def steps(self, step: int, means: dict[str, float], waited: float) -> None:
        """One log line: loss, w and b, cosines, gradient, speed, share of time spent waiting for data, time left."""
        now = time.perf_counter()
        seconds, count = now - self.last_time, step - self.last_step
        rate = count * self.utterances_per_step / seconds
        left = (now - self.started) / (step - self.first_step) * (self.num_steps - step)
        usual = {"loss", "target_cosine", "nontarget_cosine", "gradient_norm", "learning_rate"}
        extra = "".join(f" {name} {value:.2f}" for name, value in means.items() if name not in usual)
        logger.info(
            "step %d/%d loss %.4f%s target cosine %.3f nontarget %.3f gradient %.2f lr %.2e | %.0f utt/s, %.0f %% waiting for data, ETA %s",
            step, self.num_steps, means["loss"], extra, means["target_cosine"], means["nontarget_cosine"], means["gradient_norm"],
            means["learning_rate"], rate, 100 * min(waited / seconds, 1), _clock(left),
        )  # fmt: skip
        if self.before and drifts_together(self.before, means) and not self.warned:
            logger.warning(
                "the embeddings of different speakers come together: mean cosine %.3f, %.3f before; lower the learning rate or warm up longer",
                means["nontarget_cosine"], self.before["nontarget_cosine"],
            )  # fmt: skip
            self.warned = True
        self.before = means
        self.last_time, self.last_step = now, step
        self._append({"step": step, **means})
        self._time({"step": step, "seconds": now - self.started, "utterances_per_second": rate, "waiting": waited / seconds})

    def valid(self, step: int, eers: dict[str, float], best_eer: float, best_step: int) -> None:
        """The EERs on sets of held-out speakers; the first is `dev_eer`, of several each also has its name."""
        (_, eer), *others = eers.items()
        more = "".join(f", {name} {100 * value:.2f} %" for name, value in others)
        logger.info(
            "step %d/%d dev EER %.2f %%%s (best %.2f %% at step %d)", step, self.num_steps, 100 * eer, more, 100 * best_eer, best_step
        )
        record = {"dev_eer": eer, **({f"dev_eer.{name}": value for name, value in eers.items()} if others else {})}
        self._append({"step": step, **record})
        self._time({"step": step, "seconds": time.perf_counter() - self.started, **record})

    def _append(self, record: dict[str, Any]) -> None:
        line = json.dumps(record) + "\n"
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(line)
        self.number += 1
        self.digest.update(line.encode())
        if self.board is not None:
            for name, value in record.items():
                self.board.add_scalar(name, value, record["step"])

    def _time(self, record: dict[str, Any]) -> None:
        if self.timing is not None:
            with open(self.timing, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(record) + "\n")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _summary_writer(folder: Path | None) -> Any:
    if folder is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.warning("TensorBoard is not installed (pip install tensorboard): no curves are written to it")
        return None
    return SummaryWriter(str(folder))
