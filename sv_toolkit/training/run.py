"""From data directories to a model folder: what `sv-train` does."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sv_toolkit import __version__
from sv_toolkit.errors import ConfigError, DataError, OutputError, SvError, examples, plain
from sv_toolkit.io.files import locked, loose_permissions
from sv_toolkit.io.manifest import DamagedManifest, is_finished, manifest_path, read_manifest
from sv_toolkit.io.memory import keep_freed_memory
from sv_toolkit.losses.registry import make_loss
from sv_toolkit.losses.term import LossSize
from sv_toolkit.models.device import choose_device
from sv_toolkit.models.network import SpeakerNetwork
from sv_toolkit.models.store import make_network, model_digest
from sv_toolkit.training import resume
from sv_toolkit.training.batches import Source, prefetch
from sv_toolkit.training.config import TrainConfig, as_tables
from sv_toolkit.training.index_store import Progress, no_progress
from sv_toolkit.training.processes import Processes, is_first_process, joined_processes, started_by_torchrun
from sv_toolkit.training.publish import MANIFEST, describe_model, publish
from sv_toolkit.training.relations import relations
from sv_toolkit.training.report import Log
from sv_toolkit.training.sources import NamedData, Place, data_digest, load_augment, load_held_out, load_sources
from sv_toolkit.training.trainer import Trainer
from sv_toolkit.training.warm_start import start_from

logger = logging.getLogger("sv_toolkit")


@dataclass(frozen=True)
class Options:
    """What a training is given besides its configuration.

    Attributes:
        data: one data directory, or several sources (MultiReader).
        valid: held-out speakers; of several sets the first decides which model is best.
        init, init_skip: a model whose weights are the start, and patterns of the names of those that are not taken over.
        process_timeout: seconds after which one of several processes that does not answer counts as lost.
        progress: shows how far the training index is, where it has to be computed.
    """

    data: Path | tuple[NamedData, ...]
    folder: Path
    valid: Path | tuple[NamedData, ...] | None = None
    noise: Path | None = None
    device: str = "auto"
    threads: int = 1
    max_bad: int = 0
    overwrite: bool = False
    timing: Path | None = None
    tensorboard: Path | None = None
    should_stop: Callable[[], bool] = lambda: False
    reverb: Path | None = None
    init: Path | None = None
    init_skip: tuple[str, ...] = ()
    process_timeout: float = 600.0
    progress: Progress = no_progress

    def __post_init__(self) -> None:
        for option, given in (("--train", self.sources), ("--valid", self.held_out)):
            refuse_same_names(option, [one.name for one in given])

    @property
    def sources(self) -> tuple[NamedData, ...]:
        """The training data, named."""
        return (NamedData("train", self.data),) if isinstance(self.data, Path) else self.data

    @property
    def held_out(self) -> tuple[NamedData, ...]:
        """The sets of held-out speakers, named."""
        if self.valid is None:
            return ()
        return (NamedData("dev", self.valid),) if isinstance(self.valid, Path) else self.valid


def run_training(config: TrainConfig, options: Options) -> resume.Progress:
    """Train, or go on training, in `options.folder`; done work is left as it is.

    Raises:
        SvError: data, configuration or folder are wrong, in one line.
    """
    if not is_first_process():
        logger.setLevel(logging.ERROR)  # the first one speaks for all
    device = _own_device(choose_device(options.device, say=True))
    config = without_absent_vad(config, [given.path for given in options.sources])
    _refuse_own_start(options)
    with joined_processes(device, options.process_timeout) as processes, _prepared(options, processes):
        job = describe_job(config, options, processes, device)
        if not options.overwrite and is_finished(options.folder, MANIFEST, job):
            logger.info("%s: already trained with this configuration and data; nothing to do", plain(options.folder))
            return resume.Progress(finished=True)
        if not options.overwrite:
            _refuse_other_job(options.folder, job)
        torch.set_num_threads(options.threads)
        set_precision(device, config.trainer.matmul)
        keep_freed_memory(1 << 30)
        return _train(config, options, job, device, processes)


def refuse_same_names(option: str, names: list[str]) -> None:
    """Stop where two data directories have one name: the second would hide the first.

    Raises:
        ConfigError: names the option and the name.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{option}: {examples(twice)} names several data directories; give each its own NAME:DIR")


def set_precision(device: torch.device, matmul: str) -> None:
    """How a GPU multiplies float32, and let cuDNN try its algorithms once for every crop length."""
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = matmul == "tf32"
        torch.backends.cudnn.benchmark = True


def _own_device(device: torch.device) -> torch.device:
    """Under torchrun every process has its own GPU."""
    if device.type != "cuda" or not started_by_torchrun():
        return device
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device


@contextlib.contextmanager
def _prepared(options: Options, processes: Processes) -> Iterator[None]:
    """The folder locked by the first process; the others wait."""
    if not processes.is_first:
        processes.wait()
        yield
        return
    is_new = not options.folder.exists()
    try:
        with locked(options.folder):
            sentence = loose_permissions(options.folder)
            if sentence:
                logger.warning("%s", sentence)
            _drop_damaged_manifest(options.folder)
            processes.wait()
            yield
    except SvError:
        if is_new:
            with contextlib.suppress(OSError):  # it holds what the training has done so far
                options.folder.rmdir()
        raise


def _drop_damaged_manifest(folder: Path) -> None:
    """It would say that all is done; the checkpoints know how far the training is."""
    try:
        read_manifest(folder, MANIFEST)
    except DamagedManifest:
        path = manifest_path(folder, MANIFEST)
        logger.warning("%s: is damaged and is dropped; the training goes on from its checkpoints", plain(path))
        path.unlink()
    except DataError:
        return  # of another version, or no file: whoever needs it says what to do


def without_absent_vad(config: TrainConfig, data: list[Path]) -> TrainConfig:
    """The configuration for data that has no voice activity decisions at all; the model remembers that it does not use them."""
    if not config.input.use_vad or any((path / "vad.scp").exists() or not (path / "feats.scp").exists() for path in data):
        return config
    names = " ".join(plain(path) for path in data)
    logger.warning("%s: no vad.scp: all frames count as speech, for this model always; sv-compute-vad %s leaves silence out", names, names)
    return replace(config, input=replace(config.input, use_vad=False))


def describe_job(config: TrainConfig, options: Options, processes: Processes, device: torch.device) -> dict[str, Any]:
    """What was asked for: a run with an equal job continues, any other is refused.

    The place of a source seeds its batches and the first held-out set decides which model is best: where there are
    several, `order` says which came first.
    """
    names = {"train": [given.name for given in options.sources], "valid": [given.name for given in options.held_out]}
    order = {part: own for part, own in names.items() if len(own) > 1}
    return {
        **({"order": order} if order else {}),
        "command": "sv-train",
        "version": __version__,
        "config": as_tables(config),
        "data": {given.name: {"digest": data_digest(given.path, relations(config)), "weight": given.weight} for given in options.sources},
        "valid": {given.name: data_digest(given.path) for given in options.held_out},
        "noise": data_digest(options.noise) if options.noise else None,
        "reverb": data_digest(options.reverb) if options.reverb else None,
        "init": {"model": model_digest(options.init), "skip": list(options.init_skip)} if options.init else None,
        **({"threads": options.threads} if device.type == "cpu" else {}),  # sums are ordered by thread: another number, other last bits
        "processes": processes.number,  # and by process
    }


def _train(config: TrainConfig, options: Options, job: dict[str, Any], device: torch.device, processes: Processes) -> resume.Progress:
    num_local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    place = Place(device, options.folder, options.max_bad, num_local, options.progress)
    sources, speakers, index = load_sources(config, options.sources, place, processes)
    held_out = load_held_out(config, options.held_out, index, speakers, options.max_bad)
    augment = load_augment(config, options.noise, options.reverb, index)
    torch.manual_seed(config.trainer.seed)
    description = describe_model(config, index, job)
    network = make_network(description)
    if options.init is not None:
        start_from(network, options.init, options.init_skip, index)
    loss = make_loss(config.loss, LossSize(len(speakers), config.network.options.embedding_dim))
    _introduce(config, sources, len(speakers), network, device, options, processes)
    trainer = Trainer(
        config=config,
        network=network,
        loss=loss,
        steps=lambda steps: prefetch(sources, augment, config.trainer.seed, steps, processes.rank, processes.number, device),
        validate=(lambda network, all_: {name: measure(network, all_) for name, measure in held_out.items()}) if held_out else None,
        folder=options.folder,
        job=job,
        device=device,
        reporter=Log(
            options.folder / "train.jsonl",
            config.trainer.steps,
            sum(source.batch.num_speakers * source.batch.num_utterances for source in sources),
            options.timing,
            options.tensorboard,
        ),
        should_stop=options.should_stop,
        processes=processes,
    )
    if options.overwrite:  # only now: data or options that cannot be used leave what was there
        if processes.is_first:
            _clear(options.folder)
        processes.wait()
    progress = trainer.run()
    if progress.finished and processes.is_first:
        left_out = [own for one in held_out.values() for own in one.left_out.items()]
        left_out += [own for source in sources for own in source.examples.left_out.items()]
        publish(trainer, description, sources, speakers, dict(left_out), options.folder)
    return progress


def _introduce(
    config: TrainConfig,
    sources: list[Source],
    num_speakers: int,
    network: SpeakerNetwork,
    device: torch.device,
    options: Options,
    processes: Processes,
) -> None:
    size = sum(parameter.numel() for parameter in network.parameters())
    if config.trainer.chunk_utterances and network.mixes_utterances:
        raise ConfigError(
            f"chunk_utterances = {config.trainer.chunk_utterances}: {config.network.name} has batch normalisation, which needs the whole batch at once; set it to 0"
        )
    smallest = min(source.batch.num_speakers * source.batch.num_utterances for source in sources)
    if processes.number > smallest:
        raise ConfigError(
            f"{processes.number} processes cannot share a batch of {smallest} utterances; start fewer, or raise num_speakers in [batch]"
        )
    for source in sources if len(sources) > 1 else ():
        logger.info(
            "source %s: weight %g, %d speakers, batches of %d x %d", source.name, source.weight, len(source.examples.speakers),
            source.batch.num_speakers, source.batch.num_utterances,
        )  # fmt: skip
    logger.info(
        "%d speakers, %d utterances; %s with %d parameters; loss %s; batches of %d x %d; %d steps on %s%s%s",
        num_speakers, sum(len(source.examples) for source in sources), config.network.name, size,
        " + ".join(term.name for term in config.loss.terms), config.batch.num_speakers, config.batch.num_utterances, config.trainer.steps, device,
        f", {options.threads} threads" if device.type == "cpu" else "", f", {processes.number} processes" if processes.number > 1 else "",
    )  # fmt: skip


def _refuse_own_start(options: Options) -> None:
    own = [options.folder.resolve(), (options.folder / "last").resolve()]
    if options.init is not None and options.init.resolve() in own:
        raise OutputError(f"{plain(options.folder)}: holds the model that --init names, and would replace it; give another folder")


def _refuse_other_job(folder: Path, job: dict[str, Any]) -> None:
    manifest = read_manifest(folder, MANIFEST)
    if manifest is not None and manifest.job != job:
        differing = resume.differing_keys(manifest.job, job)
        raise OutputError(
            f"{plain(folder)}: holds a training that differs in {examples(differing, 5)}; give --overwrite, or another folder"
        )
    if manifest is None and (folder / "model.json").exists() and not resume.checkpoints(folder):
        raise OutputError(f"{plain(folder)}: holds a model that this training did not make; give --overwrite, or another folder")


def _clear(folder: Path) -> None:
    for path in resume.checkpoints(folder):
        path.unlink()
    of_this_training = ("model.json", "model.safetensors", "loss.safetensors", "speakers.txt", "train.jsonl", "calibration.json")
    for name in (f"{MANIFEST}.manifest.json", *of_this_training):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "last", ignore_errors=True)
