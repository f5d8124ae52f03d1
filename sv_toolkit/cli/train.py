"""sv-train: from features to a model."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import click

from sv_toolkit.cli.common import DIRECTORY, FILE, SvCommand, max_bad_option, overwrite_option, resume_option


@click.command(cls=SvCommand)
@click.argument("data", type=DIRECTORY)
@click.argument("exp", type=DIRECTORY)
@click.option("--config", type=FILE, required=True, help="Training configuration (.toml or .json), such as conf/train.toml of a recipe.")
@click.option("--valid", type=DIRECTORY, help="Data directory of held-out speakers: their EER decides which model is best.")
@click.option("--noise", type=DIRECTORY, help="Data directory of noise features for augmentation.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; a resumed run needs the same number.  [default: all processors]")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of every random choice; overrides the configuration.")
@click.option("--speakers-per-batch", type=click.IntRange(min=1), help="Overrides batch.num_speakers.")
@click.option(
    "--window-frames", type=click.IntRange(min=1), help="One fixed crop length: overrides batch.min_frames, max_frames and shortest."
)
@click.option("--set", "settings", multiple=True, metavar="SECTION.KEY=VALUE", help="Overrides any key, e.g. --set trainer.steps=500.")
@click.option("--timing-log", type=FILE, help="Append wall-clock times as JSON lines to this file.")
@click.option("--tensorboard", type=DIRECTORY, help="Write curves for TensorBoard here.")
@max_bad_option
@overwrite_option
@resume_option
def command(
    data: Path,
    exp: Path,
    config: Path,
    valid: Path | None,
    noise: Path | None,
    device: str,
    threads: int | None,
    seed: int | None,
    speakers_per_batch: int | None,
    window_frames: int | None,
    settings: tuple[str, ...],
    timing_log: Path | None,
    tensorboard: Path | None,
    max_bad: int,
    overwrite: bool,
    resume: bool,
) -> None:
    """Train a speaker-embedding network on the features of DATA; the model is EXP.

    Started again after an interruption, the same command goes on from the last checkpoint, and on a CPU
    ends with the same bits as if nothing had happened.

    \b
    Example:
        sv-train data/train exp/ge2e --config conf/train.toml --valid data/dev
    """
    overrides = parse_settings(settings)
    if seed is not None:
        overrides["trainer.seed"] = seed
    if speakers_per_batch is not None:
        overrides["batch.num_speakers"] = speakers_per_batch
    if window_frames is not None:
        overrides.update({"batch.min_frames": window_frames, "batch.max_frames": window_frames, "batch.shortest": 0})
    from sv_toolkit.io.workers import available_cpus
    from sv_toolkit.training.config import read_train_config

    training = read_train_config(config, overrides)
    from sv_toolkit.training.run import Options, run_training

    stop = StopRequest()
    options = Options(
        data,
        exp,
        valid,
        noise,
        device,
        threads or available_cpus(),
        max_bad,
        overwrite,
        timing_log,
        tensorboard,
        lambda: stop.number is not None,
    )
    progress = run_training(training, options)
    if not progress.finished:
        click.echo(f"sv-train: stopped after step {progress.step}; the checkpoint is saved, run the same command to resume", err=True)
        sys.exit(128 + (stop.number or signal.SIGTERM))
    best = f", dev EER {100 * progress.best_eer:.2f} % at step {progress.best_step}" if progress.best_step else ""
    click.echo(f"sv-train: model in {exp}{best}; next: sv-extract-dvector {exp} DATA OUT", err=True)


def parse_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """`section.key=value` texts as a mapping; values are JSON where they parse as such, else texts."""
    import json

    parsed: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or "." not in key:
            raise click.BadParameter(f"needs SECTION.KEY=VALUE, got {setting!r}", param_hint="--set")
        try:
            parsed[key] = json.loads(value)
        except ValueError:
            parsed[key] = value
    return parsed


class StopRequest:
    """Ctrl-C and SIGTERM end the training after the step in hand; a second Ctrl-C ends it at once."""

    def __init__(self) -> None:
        self.number: int | None = None
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number
