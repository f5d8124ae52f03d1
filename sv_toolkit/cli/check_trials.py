"""sv-check-trials."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, FILE, SvCommand, trials_format_option


@click.command(cls=SvCommand)
@click.argument("trials", type=FILE)
@click.option("--data", type=DIRECTORY, help="Data directory of the utterances.  [default: where TRIALS lies, if there is a utt2spk]")
@click.option("--train", type=DIRECTORY, help="Training data directory: no speaker of it may be in the trials.")
@click.option("--enroll-spk2utt", type=FILE, help="Enrollment models that the left side names ('model utterance ...').")
@trials_format_option
def command(trials: Path, data: Path | None, train: Path | None, enroll_spk2utt: Path | None, trials_format: str) -> None:
    """Audit the trial list TRIALS and print its counts and its hash.

    Finds unknown ids, duplicates, self-trials, labels that contradict utt2spk, and speakers shared with training;
    exit status 1 if there is any.  Pairs in both orders are a note.

    \b
    Example:
        sv-check-trials --train data/train data/test/trials
    """
    from sv_toolkit.data.data_dir import DataDir
    from sv_toolkit.data.enrollment import read_enrollment
    from sv_toolkit.data.trial_audit import audit, describe
    from sv_toolkit.data.trials import read_trials
    from sv_toolkit.errors import DataError
    from sv_toolkit.io.tables import place

    listed = read_trials(trials, trials_format, unique=False)
    folder = data or (trials.parent if (trials.parent / "utt2spk").exists() else None)
    utt2spk = DataDir.read(folder, require=("utt2spk",)).utt2spk if folder is not None else None
    train_utt2spk = DataDir.read(train, require=("utt2spk",)).utt2spk if train is not None else None
    models = read_enrollment(enroll_spk2utt) if enroll_spk2utt is not None else None
    found = audit(listed, utt2spk, train_utt2spk, models)
    click.echo(describe(listed, found.counts))
    for problem in [*found.problems, *found.notes]:
        click.echo(f"{'note: ' if problem in found.notes else ''}{problem}")
    if found.problems:
        raise DataError(f"{len(found.problems)} problem{'s' if len(found.problems) > 1 else ''} in {place(trials)}")
