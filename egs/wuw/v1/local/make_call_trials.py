#!/usr/bin/env python3
"""Make enrollment models of first calls and test them with later calls; `--help` shows how."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, SvCommand, overwrite_option
from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.errors import DataError


def calls_in_order(data: DataDir) -> dict[str, list[str]]:
    """Speaker -> calls (`utt2session`), by date, those of a day by their id."""
    sessions, dates = data.table("utt2session"), data.table("utt2date")
    if sessions is None or dates is None:
        raise DataError(f"{data.path}: utt2session and utt2date are needed to tell first calls from later ones")
    calls = {(data.utt2spk[key], dates[key], sessions[key]) for key in data.utt2spk}
    ordered: dict[str, list[str]] = {}
    for speaker, _, session in sorted(calls):
        ordered.setdefault(speaker, []).append(session)
    return ordered


def make_models(data: DataDir, first: dict[str, str], num_enroll: int) -> dict[str, list[str]]:
    """Speaker -> `num_enroll` utterances of the first call, chosen by SHA-256 of the id, so that more contain fewer.

    Who said less in the first call gets no model.
    """
    sessions = data.table("utt2session") or {}
    models = {}
    for speaker, session in first.items():
        keys = sorted(
            (key for key in data.spk2utt[speaker] if sessions[key] == session), key=lambda key: hashlib.sha256(key.encode()).hexdigest()
        )
        if len(keys) >= num_enroll:
            models[speaker] = sorted(keys[:num_enroll])
    return models


@click.command(cls=SvCommand)
@click.argument("data", type=DIRECTORY)
@click.option("--num-enroll", type=click.IntRange(min=1), default=1, show_default=True, help="Utterances of the first call in a model.")
@overwrite_option
def command(data: Path, num_enroll: int, overwrite: bool) -> None:
    """Write DATA/enrollN, models of N utterances of every speaker's first call, and DATA/trials_enrollN: models against all later calls.

    \b
    Example:
        local/make_call_trials.py --num-enroll 3 data/test
    """
    from sv_toolkit.data.output import write_new_files
    from sv_toolkit.data.trials import make, trials_bytes
    from sv_toolkit.io.tables import format_table

    source = DataDir.read(data, require=("utt2spk",))
    sessions = source.table("utt2session") or {}
    first = {speaker: calls[0] for speaker, calls in calls_in_order(source).items()}
    models = make_models(source, first, num_enroll)
    later = [key for key, speaker in source.utt2spk.items() if sessions[key] != first[speaker]]
    pairs = sorted((model, key) for model in models for key in later)
    labels = [source.utt2spk[key] == model for model, key in pairs]
    if not any(labels) or all(labels):
        raise DataError(f"{data}: models of {num_enroll} utterances and later calls give no target or no nontarget trial")
    trials = make(pairs, labels, data / f"trials_enroll{num_enroll}")
    table = format_table({model: " ".join(keys) for model, keys in models.items()})
    write_new_files({data / f"enroll{num_enroll}": table.encode(), trials.path: trials_bytes(trials)}, overwrite)
    counts = f"{trials.num_targets} target, {len(trials) - trials.num_targets} nontarget"
    click.echo(f"make_call_trials: {len(models)} models of {num_enroll} utterances, {counts} trials in {trials.path}", err=True)


if __name__ == "__main__":
    command()
