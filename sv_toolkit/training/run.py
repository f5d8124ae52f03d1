"""From a data directory to a model folder: what `sv-train` does."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sv_toolkit import __version__
from sv_toolkit.config import as_table
from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.errors import ModelError, OutputError, examples, plain
from sv_toolkit.io.files import locked, loose_permissions, write_text
from sv_toolkit.io.manifest import Manifest, describe_file, is_finished, read_manifest, write_manifest
from sv_toolkit.io.memory import keep_freed_memory
from sv_toolkit.losses.registry import loss_entry
from sv_toolkit.models.device import choose_device
from sv_toolkit.models.store import Description, load_weights, make_network, save_model
from sv_toolkit.training import resume
from sv_toolkit.training.augment import Augment, load_noises
from sv_toolkit.training.batches import prefetch
from sv_toolkit.training.config import TrainConfig
from sv_toolkit.training.examples import Examples, load_examples
from sv_toolkit.training.report import Log
from sv_toolkit.training.sampling import refuse_small
from sv_toolkit.training.trainer import Trainer
from sv_toolkit.training.validation import HeldOut

logger = logging.getLogger("sv_toolkit")
MANIFEST = "train"


@dataclass(frozen=True)
class Options:
    """What a training is given besides its configuration."""

    data: Path
    folder: Path
    valid: Path | None = None
    noise: Path | None = None
    device: str = "auto"
    threads: int = 1
    max_bad: int = 0
    overwrite: bool = False
    timing: Path | None = None
    tensorboard: Path | None = None
    should_stop: Callable[[], bool] = lambda: False


def run_training(config: TrainConfig, options: Options) -> resume.Progress:
    """Train, or go on training, in `options.folder`; done work is left as it is.

    Raises:
        SvError: data, configuration or folder are wrong, in one line.
    """
    device = choose_device(options.device)
    config = without_absent_vad(config, options.data)
    with locked(options.folder):
        _warn_loose(options.folder)
        if options.overwrite:
            _clear(options.folder)
        job = describe_job(config, options)
        if is_finished(options.folder, MANIFEST, job):
            logger.info("%s: already trained with this configuration and data; nothing to do", plain(options.folder))
            return resume.Progress(finished=True)
        _refuse_other_job(options.folder, job)
        torch.set_num_threads(options.threads)
        keep_freed_memory(1 << 30)
        return _train(config, options, job, device)


def without_absent_vad(config: TrainConfig, data: Path) -> TrainConfig:
    """The configuration for data that has no voice activity decisions at all; the model remembers that it does not use them."""
    if not config.input.use_vad or (data / "vad.scp").exists() or not (data / "feats.scp").exists():
        return config
    logger.warning(
        "%s: no vad.scp: all frames count as speech, for this model always; sv-compute-vad %s leaves silence out", plain(data), plain(data)
    )
    return replace(config, input=replace(config.input, use_vad=False))


def describe_job(config: TrainConfig, options: Options) -> dict[str, Any]:
    """What was asked for: a run with an equal job continues, any other is refused."""
    return {
        "command": "sv-train",
        "version": __version__,
        "config": as_tables(config),
        "data": data_digest(options.data),
        "valid": data_digest(options.valid) if options.valid else None,
        "noise": data_digest(options.noise) if options.noise else None,
        "threads": options.threads,  # sums are ordered by thread: another number gives other last bits
    }


def as_tables(config: TrainConfig) -> dict[str, Any]:
    """The configuration as the TOML tables it came from, every default filled in."""
    tables = as_table(config)
    for name in ("network", "loss"):
        tables[name] = {"name": tables[name]["name"], **tables[name]["options"]}
    return tables


def data_digest(path: Path) -> str:
    """Digest of the tables that decide what is read; the archives have their own digests in manifests."""
    digest = hashlib.sha256()
    for name in ("utt2spk", "feats.scp", "vad.scp"):
        table = path / name
        content = table.read_bytes() if table.is_file() else b""
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _train(config: TrainConfig, options: Options, job: dict[str, Any], device: torch.device) -> resume.Progress:
    index = FeatureIndex(options.data, need_vad=config.input.use_vad)
    loss_config, loss_class = config.loss.options, loss_entry(config.loss.name)[1]
    examples_ = load_examples(
        index, config.input, config.batch.shortest_usable, config.batch.num_utterances, options.max_bad, config.trainer.preload_gb
    )
    refuse_small(examples_, config.batch, loss_class.needs_speakers, loss_class.needs_utterances)
    held_out = _held_out(config, options, index)
    augment = Augment(config.augment, _noises(config, options, index.dim))
    torch.manual_seed(config.trainer.seed)
    description = describe_model(config, index, job)
    network, loss = make_network(description), loss_class(loss_config)
    _introduce(config, examples_, network, device, options)
    seed = config.trainer.seed
    trainer = Trainer(
        config=config,
        network=network,
        loss=loss,
        batches=lambda steps: prefetch(examples_, config.batch, augment, seed, steps),
        validate=held_out,
        folder=options.folder,
        job=job,
        device=device,
        reporter=Log(
            options.folder / "train.jsonl",
            config.trainer.steps,
            config.batch.num_speakers * config.batch.num_utterances,
            options.timing,
            options.tensorboard,
        ),
        should_stop=options.should_stop,
    )
    progress = trainer.run()
    if progress.finished:
        _finish(trainer, description, examples_, job, options.folder)
    return progress


def describe_model(config: TrainConfig, index: FeatureIndex, job: dict[str, Any]) -> Description:
    """The description that travels with the weights."""
    return Description(
        architecture=config.network.name,
        network=asdict(config.network.options),
        feature_dim=index.dim,
        input=config.input,
        windows=config.windows,
        features=index.made_by(),
        provenance={"config": as_tables(config), "data": job["data"], "valid": job["valid"], "toolkit_version": __version__},
    )


def _finish(trainer: Trainer, description: Description, found: Examples, job: dict[str, Any], folder: Path) -> None:
    """Best and last model, what was left out, and last of all the manifest."""
    progress = trainer.progress
    last = {name: tensor.cpu() for name, tensor in trainer.model.state_dict().items()}
    best = trainer.best or last
    load_weights(make_network(description), best, "the trained network")  # a model with NaN weights is never published
    description.provenance.update(steps=progress.step, best_step=progress.best_step or progress.step)
    if progress.best_step:
        description.provenance["dev_eer"] = progress.best_eer
    save_model(folder, best, description)
    save_model(folder / "last", last, description)
    lines = [f"{plain(utterance)}\tsv-train\t{plain(reason)}\n" for utterance, reason in sorted(found.left_out.items())]
    write_text(folder / "skipped.tsv", "".join(lines))
    counts = {
        "speakers": len(found.speakers),
        "utterances": sum(map(len, found.by_speaker)),
        "left_out": len(found.left_out),
        "steps": progress.step,
    }
    names = ["model.safetensors", "model.json", "last/model.safetensors", "last/model.json", "train.jsonl", "skipped.tsv"]
    names += [path.name for path in resume.checkpoints(folder)]
    write_manifest(folder, Manifest(MANIFEST, job, counts, {name: describe_file(folder / name) for name in names}))


def _held_out(config: TrainConfig, options: Options, index: FeatureIndex) -> HeldOut | None:
    if options.valid is None:
        logger.info("no --valid data: no dev EER, and the model of the last step is kept")
        return None
    valid = FeatureIndex(options.valid, need_vad=config.input.use_vad)
    shared = sorted(set(valid.utt2spk.values()) & set(index.utt2spk.values()))
    if shared:
        logger.warning("%d speakers are in both training and held-out data (%s): the dev EER will flatter", len(shared), examples(shared))
    if valid.dim != index.dim:
        raise ModelError(f"{plain(options.valid)}: features have {valid.dim} columns, the training data has {index.dim}")
    return HeldOut(valid, config.input, config.windows, options.max_bad)


def _noises(config: TrainConfig, options: Options, dim: int) -> list[Any]:
    if not config.augment.noise_probability:
        return []
    if options.noise is None:
        logger.warning("noise_probability is %g but no --noise data is given: training without noise", config.augment.noise_probability)
        return []
    return load_noises(FeatureIndex(options.noise, need_vad=False), dim, config.input.cmvn)


def _introduce(config: TrainConfig, found: Examples, network: torch.nn.Module, device: torch.device, options: Options) -> None:
    size = sum(parameter.numel() for parameter in network.parameters())
    logger.info(
        "%d speakers, %d utterances; %s with %d parameters; batches of %d x %d; %d steps on %s%s",
        len(found.speakers), sum(map(len, found.by_speaker)), config.network.name, size, config.batch.num_speakers, config.batch.num_utterances,
        config.trainer.steps, device, f", {options.threads} threads" if device.type == "cpu" else "",
    )  # fmt: skip


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
    for name in (f"{MANIFEST}.manifest.json", "model.json", "model.safetensors", "train.jsonl"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "last", ignore_errors=True)


def _warn_loose(folder: Path) -> None:
    sentence = loose_permissions(folder)
    if sentence:
        logger.warning("%s", sentence)
