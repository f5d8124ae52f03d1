"""sv-validate-data."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, SvCommand


@click.command(cls=SvCommand)
@click.argument("data", type=DIRECTORY)
@click.option("--read-data", is_flag=True, help="Look into the audio files' headers, the archives and the checksums too.")
@click.option("--no-speaker-prefix", is_flag=True, help="Accept utterance ids that do not start with their speaker's id.")
@click.option("--no-wav", is_flag=True, help="Accept a directory of features without wav.scp.")
@click.option("--allow-pipes", is_flag=True, help="Accept commands ('cmd |') in wav.scp; they are not run here.")
@click.option("--check-keys", is_flag=True, help="Refuse records that their archive keeps under another key; implies --read-data.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON, one object per line.")
def command(data: Path, read_data: bool, no_speaker_prefix: bool, no_wav: bool, allow_pipes: bool, check_keys: bool, as_json: bool) -> None:
    """Print every problem of the data directory DATA, each with its file, its line and how to fix it.

    Exit status 1 if there is any.  What is possible and rarely meant is a warning.

    \b
    Example:
        sv-validate-data data/train
        sv-validate-data --read-data data/train
    """
    import dataclasses
    import json
    import logging

    from sv_toolkit.data.validation import Rules, examine
    from sv_toolkit.errors import DataError
    from sv_toolkit.io.tables import place

    rules = Rules(speaker_prefix=not no_speaker_prefix, allow_pipes=allow_pipes, need_wav=not no_wav, check_keys=check_keys)
    findings = examine(data, read_data or check_keys, rules)
    for problem in findings.problems:
        click.echo(json.dumps(dataclasses.asdict(problem), ensure_ascii=False) if as_json else str(problem))
    for note in findings.notes:
        logging.getLogger("sv_toolkit").warning("%s", note)
    num_problems = len(findings.problems)
    if num_problems:
        raise DataError(f"{num_problems} problem{'s' if num_problems > 1 else ''} in {place(data)}")
    if not as_json:
        click.echo(f"{place(data)}: ok, {findings.num_utterances} utterances, {findings.num_speakers} speakers")
