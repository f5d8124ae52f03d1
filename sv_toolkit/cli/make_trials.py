"""sv-make-trials."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, FILE, SvCommand, overwrite_option, seed_option

COUNT = click.IntRange(min=1)
CONDITION = click.Choice(["any", "same", "different"])


@click.command(cls=SvCommand)
@click.argument("data", type=DIRECTORY)
@click.option("-o", "--output", type=FILE, help="The list to write.  [default: DATA/trials]")
@click.option(
    "--per-utterance", type=COUNT, help="At most so many target and so many nontarget trials per utterance, instead of all pairs."
)
@click.option("--targets", type=COUNT, help="The same for target trials alone.")
@click.option("--nontargets", type=COUNT, help="The same for nontarget trials alone.")
@click.option("--keyword", type=CONDITION, default="any", show_default=True, help="Keywords of the two sides (needs utt2keyword).")
@click.option(
    "--session", type=CONDITION, default="any", show_default=True, help="Sessions of the two sides of target trials (needs utt2session)."
)
@click.option(
    "--enroll-spk2utt-out", type=FILE, help="Make enrollment models, write them here, and test them instead of pairs of utterances."
)
@click.option("--num-enroll", type=click.IntRange(min=1), default=1, show_default=True, help="Utterances per enrollment model.")
@seed_option
@overwrite_option
def command(
    data: Path,
    output: Path | None,
    per_utterance: int | None,
    targets: int | None,
    nontargets: int | None,
    keyword: str,
    session: str,
    enroll_spk2utt_out: Path | None,
    num_enroll: int,
    seed: int,
    overwrite: bool,
) -> None:
    """Write a trial list for the data directory DATA: all pairs of its utterances, each once, unless told otherwise.

    With --enroll-spk2utt-out the left side of a trial is an enrollment model (one per speaker; with a
    condition on keywords one per speaker and keyword) and the right side an utterance of no model.

    \b
    Example:
        sv-make-trials data/test
        sv-make-trials --per-utterance 10 --session different --seed 1 -o data/test/trials_cross data/test
        sv-make-trials --enroll-spk2utt-out data/test/enroll2 --num-enroll 2 --keyword same -o data/test/trials2 data/test
    """
    import logging

    from sv_toolkit.data.data_dir import DataDir
    from sv_toolkit.data.output import write_new_files
    from sv_toolkit.data.trial_audit import audit, describe
    from sv_toolkit.data.trial_making import TrialConfig, make_enrollment, make_model_trials, make_trials
    from sv_toolkit.data.trials import trials_bytes
    from sv_toolkit.io.tables import format_table

    source = DataDir.read(data, require=("utt2spk",))
    path = output or data / "trials"
    config = TrialConfig(
        per_utterance if targets is None else targets, per_utterance if nontargets is None else nontargets, keyword, session, seed
    )
    files = {}
    if enroll_spk2utt_out is None:
        trials = make_trials(source, config, path)
    else:
        models = make_enrollment(source, num_enroll, config)
        trials = make_model_trials(source, models, config, path)
        files[enroll_spk2utt_out] = format_table({name: " ".join(keys) for name, keys in models.items()}).encode()
    files[path] = trials_bytes(trials)
    write_new_files(files, overwrite)
    logging.getLogger("sv_toolkit").info("%s", describe(trials, audit(trials).counts))
