"""sv-info: what a model is."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, SvCommand


@click.command(cls=SvCommand)
@click.argument("model", type=DIRECTORY)
def command(model: Path) -> None:
    """Print what the MODEL folder holds: architecture, sizes, features, window, and what it was trained on.

    \b
    Example:
        sv-info exp/ge2e
    """
    rows = ivector_rows(model) if (model / "ivector.json").is_file() else network_rows(model)
    for key, value in rows.items():
        click.echo(f"{key} {value}")


def network_rows(model: Path) -> dict[str, object]:
    """What there is to say of a network."""
    from sv_toolkit.models.store import load_model, model_digest

    network, description = load_model(model)
    return {
        "architecture": description.architecture,
        **{f"network.{key}": value for key, value in description.network.items()},
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "feature_dim": description.feature_dim,
        **{f"input.{key}": value for key, value in vars(description.input).items()},
        **{f"windows.{key}": value for key, value in vars(description.windows).items()},
        **{f"{kind}.{key}": value for kind, made in description.features.items() for key, value in made["config"].items()},
        **{key: value for key, value in description.provenance.items() if key != "config"},
        "digest": model_digest(model),
    }


def ivector_rows(model: Path) -> dict[str, object]:
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
