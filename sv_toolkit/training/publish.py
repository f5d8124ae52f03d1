"""What a finished training leaves in its folder: the models, the loss's own weights, what was left out, and the manifest."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save

from sv_toolkit import __version__
from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.data.skipped import write_skipped
from sv_toolkit.io.files import make_directory, remove_leftovers, whole_binary, write_text
from sv_toolkit.io.manifest import Manifest, describe_file, write_manifest
from sv_toolkit.models.store import Description, load_weights, make_network, save_model
from sv_toolkit.training import resume
from sv_toolkit.training.batches import Source
from sv_toolkit.training.config import TrainConfig, as_tables
from sv_toolkit.training.trainer import Trainer

MANIFEST = "train"


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


def publish(
    trainer: Trainer, description: Description, sources: list[Source], speakers: list[str], left_out: dict[str, str], folder: Path
) -> None:
    """Best and last model, the loss's own weights, what was left out, and last of all the manifest."""
    progress = trainer.progress
    last = {name: tensor.cpu() for name, tensor in trainer.model.state_dict().items()}
    best = trainer.best or last
    load_weights(make_network(description), best, "the trained network")  # a model with NaN weights is never published
    description.provenance.update(steps=progress.step, best_step=progress.best_step or progress.step)
    if progress.best_step:
        description.provenance["dev_eer"] = progress.best_eer
    save_model(folder, best, description)
    remove_leftovers(make_directory(folder / "last"))
    save_model(folder / "last", last, description)
    with whole_binary(folder / "loss.safetensors") as stream:
        stream.write(save({name: tensor.detach().cpu().contiguous() for name, tensor in trainer.loss.state_dict().items()}))
    write_text(folder / "speakers.txt", "".join(f"{speaker}\n" for speaker in speakers))
    write_skipped(folder, "sv-train", left_out)
    counts = {
        "speakers": len(speakers),
        "utterances": sum(len(source.examples) for source in sources),
        "left_out": len(left_out),
        "steps": progress.step,
    }
    names = ["model.safetensors", "model.json", "last/model.safetensors", "last/model.json", "loss.safetensors", "speakers.txt"]
    names += ["train.jsonl", "skipped.tsv", *(path.name for path in resume.checkpoints(folder))]
    write_manifest(folder, Manifest(MANIFEST, trainer.job, counts, {name: describe_file(folder / name) for name in names}))
