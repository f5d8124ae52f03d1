"""sv-extract-features: from recordings to features of any type that is registered."""

from __future__ import annotations

from typing import Any

import click

from sv_toolkit.cli.common import SvCommand
from sv_toolkit.cli.feature_options import extraction_options, prepare_process, run_extraction
from sv_toolkit.features.registry import FEATURES

settings_option = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="An option of the features; wins over --config.  Again for more."
)


@click.command(cls=SvCommand)
@click.argument("kind", type=click.Choice(list(FEATURES)))
@extraction_options(settings_option)
def command(kind: str, settings: tuple[str, ...], **options: Any) -> None:
    """Write features of the type KIND of every utterance of DATA to OUT/feats.scp.

    For types of features without a command of their own; CONTRIBUTING.md says how one is added.  Times are in seconds.

    \b
    Example:
        sv-extract-features fbank --set num_mel_bins=80 --set frame_shift=0.02 data/train
        sv-extract-features mfcc --config conf/mfcc.toml --nj 8 data/train exp/mfcc/train
    """
    prepare_process()
    from sv_toolkit.cli.train import parse_settings

    given = parse_settings(tuple(f"{kind}.{setting}" for setting in settings))
    run_extraction(kind, in_seconds=True, **options, **{key.removeprefix(f"{kind}."): value for key, value in given.items()})
