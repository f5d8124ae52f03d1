"""sv-train: from features to a model."""

from __future__ import annotations

import os
import re
import signal
import sys
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from sv_toolkit.cli.common import (
    DIRECTORY,
    FILE,
    MODEL,
    Progress,
    SvCommand,
    device_option,
    max_bad_option,
    overwrite_option,
    resume_option,
)
from sv_toolkit.cli.missing_features import make_missing_features
from sv_toolkit.cli.start import CAUGHT, raise_for

if TYPE_CHECKING:
    from sv_toolkit.training.config import TrainConfig

NAME = re.compile(r"[A-Za-z0-9_-]+")


@click.command(cls=SvCommand)
@click.argument("paths", type=DIRECTORY, nargs=-1, metavar="[DATA] EXP")
@click.option(
    "--config",
    type=FILE,
    help="Configuration: a .toml or .json file, or the name of one in the package, such as ge2e-lstm.  [default: one that fits the data]",
)
@click.option("--print-config", is_flag=True, help="Print every key, its value and what it means, as TOML, and do nothing else.")
@click.option(
    "--train",
    "sources",
    multiple=True,
    metavar="NAME[=WEIGHT]:DIR",
    help="Instead of DATA: one of several data directories; every step takes a batch from each (MultiReader).",
)
@click.option(
    "--valid",
    multiple=True,
    metavar="[NAME:]DIR",
    help="Data directory of held-out speakers; may be given again. The EER of the first decides which model is best.",
)
@click.option("--init", type=MODEL, help="Start from the weights of this model (fine-tuning); 'default' is the ready model.")
@click.option("--init-skip", multiple=True, metavar="PATTERN", help="Names of tensors that --init leaves as drawn, e.g. 'linear.*'.")
@click.option("--noise", type=DIRECTORY, help="Data directory of noise features for augmentation.")
@click.option("--reverb", type=DIRECTORY, help="Data directory of features of room impulse responses for augmentation.")
@device_option
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; a resumed run needs the same number.  [default: all processors]")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Seed of every random choice; overrides the configuration.")
@click.option("--speakers-per-batch", type=click.IntRange(min=1), help="Overrides batch.num_speakers.")
@click.option(
    "--window-frames", type=click.IntRange(min=1), help="One fixed crop length: overrides batch.min_frames, max_frames and shortest."
)
@click.option("--set", "settings", multiple=True, metavar="SECTION.KEY=VALUE", help="Overrides any key, e.g. --set trainer.steps=500.")
@click.option("--chunk-utterances", type=click.IntRange(min=0), help="Overrides trainer.chunk_utterances: for batches larger than memory.")
@click.option(
    "--process-timeout",
    type=click.FloatRange(min=1),
    default=600,
    show_default=True,
    help="Under torchrun: seconds after which a process that does not answer counts as lost.",
)
@click.option("--timing-log", type=FILE, help="Append wall-clock times as JSON lines to this file.")
@click.option("--tensorboard", type=DIRECTORY, help="Write curves for TensorBoard here.")
@max_bad_option
@overwrite_option
@resume_option
def command(
    paths: tuple[Path, ...],
    config: Path | None,
    print_config: bool,
    sources: tuple[str, ...],
    valid: tuple[str, ...],
    init: Path | None,
    init_skip: tuple[str, ...],
    noise: Path | None,
    reverb: Path | None,
    device: str,
    threads: int | None,
    seed: int | None,
    speakers_per_batch: int | None,
    window_frames: int | None,
    settings: tuple[str, ...],
    chunk_utterances: int | None,
    process_timeout: float,
    timing_log: Path | None,
    tensorboard: Path | None,
    max_bad: int,
    overwrite: bool,
    resume: bool,
) -> None:
    """Train a speaker-embedding network on the features of DATA; the model is EXP.

    Without --config, sizes, batches, crops and steps are chosen for the data and printed; with --init too, network and
    features are those of that model.  Features that are not there yet are made.  Configurations in the package: ge2e-lstm,
    ge2e-lstm-small, ge2e-lstm-keywords, ecapa-aam, ecapa-small, resnet34-bases, deep-speaker-rescnn, deep-speaker-gru.

    Started again after an interruption, the same command goes on from the last checkpoint, and on a CPU
    ends with the same bits as if nothing had happened.

    \b
    Example:
        sv-train data/train exp/mine
        sv-train data/train exp/ge2e --config conf/train.toml --valid data/dev
        sv-train --train small=1:data/small --train large=0.3:data/large exp/multi --config conf/train.toml
        torchrun --nproc-per-node 2 --no-python sv-train data/train exp/ge2e --config conf/train.toml
    """
    if not print_config and len(paths) != (1 if sources else 2):
        raise click.UsageError(
            "give EXP alone with --train" if sources else "missing argument: give DATA and EXP, or --train NAME:DIR ... and EXP"
        )
    if init_skip and init is None:
        raise click.UsageError("--init-skip leaves tensors of --init as they are drawn; give --init, too")
    overrides = parse_settings(settings)
    if seed is not None:
        overrides["trainer.seed"] = seed
    if speakers_per_batch is not None:
        overrides["batch.num_speakers"] = speakers_per_batch
    if window_frames is not None:
        overrides.update({"batch.min_frames": window_frames, "batch.max_frames": window_frames, "batch.shortest": 0})
    if chunk_utterances is not None:
        overrides["trainer.chunk_utterances"] = chunk_utterances
    if print_config:
        click.echo(listed_config(config, overrides), nl=False)
        return
    from sv_toolkit.io.workers import available_cpus
    from sv_toolkit.training.sources import NamedData

    held_out = tuple(NamedData(*parse_valid(given, number)) for number, given in enumerate(valid))
    named = tuple(NamedData(*parse_source(source)) for source in sources)
    refuse_same_names("--train", [given.name for given in named])
    refuse_same_names("--valid", [given.name for given in held_out])
    exp = paths[-1]
    data = {given.name: given.path for given in named} or {"train": paths[0]}
    make_missing_features([*data.values(), *(given.path for given in held_out)], init, max_bad=max_bad)
    training = read_or_choose(config, overrides, data, init, exp, max_bad)
    from sv_toolkit.training.processes import is_first_process
    from sv_toolkit.training.run import Options, run_training

    stop = StopRequest()
    options = Options(
        data=named or paths[0],
        folder=exp,
        valid=held_out or None,
        noise=noise,
        device=device,
        threads=threads or threads_per_process(available_cpus()),
        max_bad=max_bad,
        overwrite=overwrite,
        timing=timing_log,
        tensorboard=tensorboard,
        should_stop=stop.is_asked,
        reverb=reverb,
        init=init,
        init_skip=init_skip,
        process_timeout=process_timeout,
        progress=partial(Progress, what="training index"),
    )
    progress = run_training(training, options)
    if not is_first_process():
        return
    if not progress.finished:
        click.echo(f"sv-train: stopped after step {progress.step}; the checkpoint is saved, run the same command to resume", err=True)
        sys.exit(128 + (stop.number or signal.SIGTERM))
    best = f", dev EER {100 * progress.best_eer:.2f} % at step {progress.best_step}" if progress.best_step else ""
    click.echo(f"sv-train: model in {exp}{best}; next: sv-extract-dvector {exp} DATA OUT", err=True)


def listed_config(config: Path | None, overrides: dict[str, Any]) -> str:
    """Every key of the configuration as TOML; of the defaults where none is given."""
    from sv_toolkit.config import with_overrides
    from sv_toolkit.training.config import read_train_config, train_config
    from sv_toolkit.training.named import config_text, find_config

    if config is None:
        return config_text(train_config(with_overrides({}, overrides, "options"), "options"))
    return config_text(read_train_config(find_config(config), overrides))


def read_or_choose(
    config: Path | None, overrides: dict[str, Any], data: dict[str, Path], init: Path | None, exp: Path, max_bad: int
) -> TrainConfig:
    """The configuration that is named, or one that fits the data and the model of --init."""
    from sv_toolkit.training.choosing import chosen_tables
    from sv_toolkit.training.config import read_train_config, train_config
    from sv_toolkit.training.named import find_config

    if config is not None:
        return read_train_config(find_config(config), overrides)
    return train_config(chosen_tables(data, init, overrides, exp, max_bad, partial(Progress, what="training index")), "options")


def parse_source(text: str) -> tuple[str, Path, float | None]:
    """Name, directory and weight of `NAME=WEIGHT:DIR` or `NAME:DIR`."""
    head, colon, path = text.partition(":")
    name, equals, weight = head.partition("=")
    try:
        number = float(weight) if equals else None
        if not (colon and path and NAME.fullmatch(name)) or (number is not None and not 0 < number < float("inf")):
            raise ValueError
    except ValueError:
        raise click.BadParameter(f"needs NAME:DIR or NAME=WEIGHT:DIR with a positive weight, got {text!r}", param_hint="--train") from None
    return name, Path(path), number


def parse_valid(text: str, number: int) -> tuple[str, Path]:
    """Name and directory of `NAME:DIR`, or of a directory alone."""
    name, colon, path = text.partition(":")
    if colon and path and NAME.fullmatch(name):
        return name, Path(path)
    return "dev" if number == 0 else f"dev{number + 1}", Path(text)


def refuse_same_names(option: str, names: list[str]) -> None:
    """Stop where a name is given twice: data without a name of its own is called dev, dev2, ..."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise click.BadParameter(f"several data directories are called {twice!r}; give each its own NAME:DIR", param_hint=option)


def threads_per_process(cpus: int) -> int:
    """The processors of this machine, shared by the processes that torchrun started on it."""
    return max(cpus // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)


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
    """Ctrl-C, SIGTERM and SIGHUP end the training after the step in hand; a second Ctrl-C, or one before the first step, at once."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._has_begun = False
        for number in CAUGHT:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._ask)

    def is_asked(self) -> bool:
        """Whether to stop; the trainer asks after every step."""
        self._has_begun = True
        return self.number is not None

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if not self._has_begun or (self.number is not None and number == signal.SIGINT):
            raise_for(number)
        self.number = number
