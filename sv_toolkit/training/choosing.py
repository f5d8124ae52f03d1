"""The configuration of a training that was given none: read what the data holds, and the model that it starts from."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sv_toolkit.config import as_table, with_overrides
from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.features.registry import without_powers
from sv_toolkit.models.store import read_description
from sv_toolkit.training.defaults import Material, fitting_tables, told
from sv_toolkit.training.index_store import Progress, ensure_index, load_index, no_progress

FEW_SPEAKERS = 200  # with fewer, a training from nothing is behind a model of other data (egs/general/v1)
logger = logging.getLogger("sv_toolkit")


def chosen_tables(
    data: Mapping[str, Path],
    init: Path | None,
    overrides: Mapping[str, Any],
    folder: Path,
    max_bad: int,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Tables that fit the data, and those of the model `init` where its weights are the start; says what was chosen.

    Args:
        data: data directories by the names of the sources.
        overrides: `{"section.key": value}`, laid over what is chosen; another network or loss has its own sizes.
        folder: of the training, for an index that cannot be written beside its data.

    Raises:
        DataError, TooManyBadError: the data cannot be read, or is too small.
    """
    material = [read_material(path, folder / f"index_{name}", max_bad, progress) for name, path in data.items()]
    start = None if init is None else tables_of_model(init)
    tables = fitting_tables(material, start)
    for section in ("network", "loss"):
        if overrides.get(f"{section}.name", tables[section]["name"]) != tables[section]["name"]:
            tables[section] = {}
    tables = with_overrides(tables, overrides, "options")
    _follow_crops(tables["batch"], overrides)
    logger.info("no --config: %s; sv-train --print-config shows every key, --set changes one", told(material, tables))
    if start is None and sum(len(np.unique(own.speaker)) for own in material) < FEW_SPEAKERS:
        logger.info("few speakers: --init default starts from the ready model, which has heard more of them")
    return tables


def _follow_crops(batch: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    """Where the command line says one end of the crops, what was chosen for the others gives way."""
    with contextlib.suppress(TypeError):  # no numbers: the configuration says so
        if "batch.min_frames" not in overrides:
            batch["min_frames"] = min(batch["min_frames"], batch["max_frames"])
        if "batch.max_frames" not in overrides:
            batch["max_frames"] = max(batch["min_frames"], batch["max_frames"])
        if "batch.shortest" not in overrides:
            batch["shortest"] = min(batch["shortest"], batch["max_frames"])


def read_material(path: Path, elsewhere: Path, max_bad: int, progress: Progress) -> Material:
    """Speakers and lengths of the utterances of a data directory; its training index is computed where it is missing."""
    use_vad = (path / "vad.scp").exists()
    index = FeatureIndex(path, need_vad=use_vad)
    place, _ = ensure_index(index, use_vad, max_bad, progress, elsewhere)
    table = load_index(place, index.num_utterances, index.dim)
    return Material(index.speaker_codes, np.asarray(table.num_frames), without_powers(index.made_by()) is None)


def tables_of_model(folder: Path) -> dict[str, Any]:
    """Tables `network`, `input` and `windows` of a model; the rest of a configuration is of no use to another training."""
    description, _ = read_description(folder)
    return {
        "network": {"name": description.architecture, **description.network},
        "input": as_table(description.input),
        "windows": as_table(description.windows),
    }
