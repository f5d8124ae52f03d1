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
    from sv_toolkit.models.store import load_model, model_digest

    network, description = load_model(model)
    rows = {
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
    for key, value in rows.items():
        click.echo(f"{key} {value}")
