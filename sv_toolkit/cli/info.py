"""sv-info: what a model is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sv_toolkit.cli.common import MODEL, SvCommand


@click.command(cls=SvCommand)
@click.argument("model", type=MODEL)
def command(model: Path) -> None:
    """Print what the MODEL folder holds: architecture, sizes, features, window, calibration, and what it was trained on.

    \b
    Example:
        sv-info exp/ge2e
    """
    rows = ivector_rows(model) if (model / "ivector.json").is_file() else network_rows(model)
    for key, value in flat(rows).items():
        click.echo(f"{key} {value}")


def flat(rows: dict[str, Any], prefix: str = "") -> dict[str, object]:
    """Tables within tables as one, keys joined by dots."""
    found: dict[str, object] = {}
    for key, value in rows.items():
        found.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return found


def network_rows(model: Path) -> dict[str, Any]:
    """What there is to say of a network."""
    from sv_toolkit.models.store import load_model, read_description

    network, description = load_model(model)
    weights = read_description(model)[1]
    return {
        "architecture": description.architecture,
        "network": description.network,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "weights_bytes": weights["size"],
        "feature_dim": description.feature_dim,
        "input": vars(description.input),
        "windows": vars(description.windows),
        **window_seconds(description.features, description.windows.window),
        **{kind: made["config"] for kind, made in description.features.items()},
        **{key: value for key, value in description.provenance.items() if key != "config"},
        "digest": weights["sha256"],
        **calibration_rows(model, weights["sha256"]),
    }


def window_seconds(features: dict[str, Any], num_frames: int) -> dict[str, float]:
    """Length of a window, where the frame shift is known."""
    shifts = [made["config"]["frame_shift"] for made in features.values() if "frame_shift" in made["config"]]
    return {"window_seconds": round(num_frames * shifts[0], 6)} if shifts else {}


def calibration_rows(model: Path, digest: str) -> dict[str, Any]:
    """What the calibration beside the model decides, and on what list that was found out."""
    from sv_toolkit.backends.calibration import NAME, read_calibration

    if not (model / NAME).exists():
        return {"calibration": f"none; sv-calibrate TRIALS SCORES --model {model} makes one"}
    found = read_calibration(model)
    if found.model not in (None, digest):
        return {"calibration": f"of another model, {found.model}"}
    threshold = found.threshold(found.prior)
    false_alarm, miss = found.rates_at(threshold)
    return {
        "calibration": {
            "scoring": found.scoring,
            "quality": " ".join(found.quality_names) or "none",
            "prior": found.prior,
            "threshold": round(threshold, 6),
            "false_alarm_rate": round(false_alarm, 6),
            "miss_rate": round(miss, 6),
            "list": vars(found.list),
        }
    }


def ivector_rows(model: Path) -> dict[str, Any]:
    """What there is to say of an i-vector system."""
    from sv_toolkit.ivector.store import load_system, read_description

    gmm, total, description = load_system(model)
    return {
        "architecture": "ivector",
        "alignment": description.alignment,
        "parameters": gmm.weights.size + gmm.means.size + gmm.covariances.size + total.matrix.size + total.offsets.size,
        "feature_dim": description.feature_dim,
        **{f"frames.{key}": value for key, value in vars(description.config.frames).items()},
        **{f"ubm.{key}": value for key, value in vars(description.config.ubm).items()},
        **{f"total_variability.{key}": value for key, value in vars(description.config.total_variability).items()},
        **{f"{kind}.{key}": value for kind, made in description.features.items() for key, value in made["config"].items()},
        **description.provenance,
        "digest": read_description(model)[1]["sha256"],
    }
