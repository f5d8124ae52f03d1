#!/usr/bin/env python3
"""Make trial lists for every pair of an enrolled and a verified keyword; `--help` shows how."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, SvCommand, overwrite_option
from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.errors import DataError

Pairs = list[tuple[str, str]]


def make_models(data: DataDir, keyword_of: dict[str, str], num_enroll: int) -> dict[str, list[str]]:
    """SPEAKER-KEYWORD -> `num_enroll` utterances, chosen by SHA-256 of the id; who has fewer gets no model."""
    said: dict[str, list[str]] = {}
    for key, speaker in data.utt2spk.items():
        said.setdefault(f"{speaker}-{keyword_of[key]}", []).append(key)
    ordered = {model: sorted(keys, key=lambda key: hashlib.sha256(key.encode()).hexdigest()) for model, keys in said.items()}
    return {model: sorted(keys[:num_enroll]) for model, keys in sorted(ordered.items()) if len(keys) >= num_enroll}


def make_cases(data: DataDir, keyword_of: dict[str, str], models: dict[str, list[str]]) -> dict[str, Pairs]:
    """`enrolled_verified` -> models of the one keyword with all utterances of the other, or with those of the same that are in no model."""
    enrolled = {key for keys in models.values() for key in keys}
    cases: dict[str, Pairs] = {}
    for model, keys in models.items():
        own = keyword_of[keys[0]]
        for key, keyword in keyword_of.items():
            pairs = cases.setdefault(f"{own}_{keyword}", [])
            if keyword != own or key not in enrolled:
                pairs.append((model, key))
    return cases


@click.command(cls=SvCommand)
@click.argument("data", type=DIRECTORY)
@click.option("--num-enroll", type=click.IntRange(min=1), default=1, show_default=True, help="Utterances of a model.")
@overwrite_option
def command(data: Path, num_enroll: int, overwrite: bool) -> None:
    """Write DATA/enroll, models of one speaker and keyword each, and DATA/trials_A_B for keywords A and B: enrolled with A, verified with B.

    DATA/trials_all holds all of them.

    \b
    Example:
        local/make_keyword_trials.py --num-enroll 1 data/test
    """
    from sv_toolkit.data.output import write_new_files
    from sv_toolkit.data.trials import make, trials_bytes
    from sv_toolkit.io.tables import format_table

    source = DataDir.read(data, require=("utt2spk",))
    keyword_of = dict(source.table("utt2keyword") or {})
    if not keyword_of:
        raise DataError(f"{data}: utt2keyword is needed to tell keywords apart")
    models = make_models(source, keyword_of, num_enroll)
    speaker_of = {model: source.utt2spk[keys[0]] for model, keys in models.items()}
    cases = make_cases(source, keyword_of, models)
    cases["all"] = [pair for pairs in cases.values() for pair in pairs]
    files = {data / "enroll": format_table({model: " ".join(keys) for model, keys in models.items()}).encode()}
    for name, pairs in sorted(cases.items()):
        pairs.sort()
        labels = [source.utt2spk[key] == speaker_of[model] for model, key in pairs]
        if not any(labels) or all(labels):
            raise DataError(f"{data}: models of {num_enroll} utterances give no target or no nontarget trial for {name}")
        trials = make(pairs, labels, data / f"trials_{name}")
        files[trials.path] = trials_bytes(trials)
        click.echo(f"make_keyword_trials: {trials.path}: {sum(labels)} target, {len(labels) - sum(labels)} nontarget", err=True)
    write_new_files(files, overwrite)


if __name__ == "__main__":
    command()
