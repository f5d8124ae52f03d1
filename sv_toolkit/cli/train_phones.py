"""sv-train-phones: from aligned features to a classifier of frames."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, FILE, SvCommand, overwrite_option


@click.command(cls=SvCommand)
@click.argument("data", type=DIRECTORY)
@click.argument("exp", type=DIRECTORY)
@click.option("--config", type=FILE, required=True, help="Configuration (.toml or .json), such as conf/phones.toml of a recipe.")
@click.option("--valid", type=DIRECTORY, help="Another aligned data directory, of other voices, to measure the accuracy on.")
@click.option("--seed", type=click.IntRange(min=0), help="Overrides seed of the configuration.")
@click.option("--parts", type=click.IntRange(min=1), help="Classes of every phone, parts of its duration; overrides parts.")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the data; overrides epochs.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads; they decide the last digits.")
@overwrite_option
def command(
    data: Path,
    exp: Path,
    config: Path,
    valid: Path | None,
    seed: int | None,
    parts: int | None,
    epochs: int | None,
    threads: int,
    overwrite: bool,
) -> None:
    """Train a network that says which phone is spoken in every frame of filter banks; the model is EXP.

    DATA has feats.scp and phones.ctm, with lines "utterance channel start duration phone" in seconds.

    \b
    Example:
        sv-train-phones data/phones/train exp/phones --config conf/phones.toml --valid data/phones/heldout
        sv-extract-posteriors exp/phones data/train exp/phones/train
    """
    from sv_toolkit.phonetic.config import read_phone_config
    from sv_toolkit.phonetic.train import Options, train_phones

    given = {"seed": seed, "parts": parts, "epochs": epochs}
    overrides = {key: value for key, value in given.items() if value is not None}
    train_phones(read_phone_config(config, overrides), Options(data, exp, valid, threads, overwrite))
    click.echo(f"sv-train-phones: classifier in {exp}; next: sv-extract-posteriors {exp} DATA OUT", err=True)
