"""sv-train-keyword: a small detector of keywords."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, FILE, SvCommand, allow_pipes_option, max_bad_option, overwrite_option, seed_option
from sv_toolkit.cli.feature_options import channel_option, prepare_process, resample_option
from sv_toolkit.cli.train import parse_settings


@click.command(cls=SvCommand)
@click.argument("keywords", type=DIRECTORY)
@click.argument("exp", type=DIRECTORY)
@click.option("--background", type=DIRECTORY, multiple=True, required=True, help="Data directory without keywords; may be given again.")
@click.option("--noise", type=DIRECTORY, multiple=True, help="Data directory of noise to mix in; may be given again.")
@click.option(
    "--held-out", type=DIRECTORY, multiple=True, help="Data directory that may share no speaker with the others; may be given again."
)
@click.option("--word", "words", multiple=True, help="Word to detect; may be given again, others are background.  [default: all]")
@click.option("--config", type=FILE, help="TOML or JSON with tables [fbank], [detector] and [training].")
@click.option("--set", "settings", multiple=True, metavar="SECTION.KEY=VALUE", help="Overrides any key, e.g. --set training.steps=500.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads; they decide the last bits.")
@seed_option
@channel_option
@resample_option
@max_bad_option
@overwrite_option
@allow_pipes_option
def command(
    keywords: Path,
    exp: Path,
    background: tuple[Path, ...],
    noise: tuple[Path, ...],
    held_out: tuple[Path, ...],
    words: tuple[str, ...],
    config: Path | None,
    settings: tuple[str, ...],
    threads: int,
    seed: int,
    channel: int | None,
    resample: bool,
    max_bad: int,
    overwrite: bool,
    allow_pipes: bool,
) -> None:
    """Train a detector of the words of KEYWORDS, a data directory with one word in each recording; the detector is EXP.

    utt2keyword says which word an utterance is, or else text.  Where in its recording the word is said need not be known:
    it is found by energy, and then by the detector itself.

    \b
    Example:
        sv-train-keyword data/train exp/keyword --background data/speech --noise data/noise --held-out data/test
    """
    prepare_process()
    from sv_toolkit.extraction.pipeline import AudioOptions
    from sv_toolkit.keyword.config import read_keyword_config
    from sv_toolkit.keyword.training import KeywordData, TrainingOptions, train_keyword

    audio = AudioOptions(channel, resample, allow_pipes)
    data = KeywordData(keywords, background, noise, held_out, tuple(word.lower() for word in words))
    chosen = read_keyword_config(config, parse_settings(settings))
    count = train_keyword(data, exp, chosen, audio, TrainingOptions(seed, threads, max_bad, overwrite))
    click.echo(f"sv-train-keyword: detector of {count} recordings in {exp}; next: sv-detect-keyword {exp} DATA OUT", err=True)
