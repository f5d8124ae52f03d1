"""sv-score: from embeddings and a trial list to scores."""

from __future__ import annotations

from pathlib import Path

import click

from sv_toolkit.cli.common import FILE, SvCommand, trials_format_option, write_lines

DECIMALS = 7  # sums in float32 can tell no more


@click.command(cls=SvCommand)
@click.argument("trials", type=FILE)
@click.option("--enroll", type=FILE, help="scp of the embeddings on the left of the trials.  [default: those of the test side]")
@click.option("--enroll-spk2utt", type=FILE, help="Lines 'model utterance ...': the left of a trial is then a model, made of these.")
@click.option("--test", type=FILE, help="scp of the embeddings on the right.  [default: dvector.scp beside TRIALS, or else --enroll]")
@click.option("--backend", type=FILE, help="Folder of sv-train-backend: score with its transforms and its PLDA.  [default: cosine]")
@click.option("--average-enrollment", is_flag=True, help="With a PLDA back end: score the mean of a model as if it were one utterance.")
@click.option("-o", "--output", type=FILE, help="Where the scores go.  [default: stdout]")
@trials_format_option
@click.option("--allow-missing", is_flag=True, help="Score the trials whose embeddings exist, and say how many do not.")
def command(
    trials: Path,
    enroll: Path | None,
    enroll_spk2utt: Path | None,
    test: Path | None,
    backend: Path | None,
    average_enrollment: bool,
    output: Path | None,
    trials_format: str,
    allow_missing: bool,
) -> None:
    """Print the score of every trial of TRIALS, and the EER if the trials are labelled.

    Without --backend scores are cosines, and models are means of length-normalised embeddings.  With a PLDA back end
    they are log-likelihood ratios (natural logarithm), given all the utterances of a model.

    TRIALS holds lines 'enroll-id test-id [target|nontarget]'; the scores are lines 'enroll-id test-id score'.
    With -o they go to a file and the EER to stdout; without, the scores go to stdout and the EER to stderr.

    \b
    Example:
        sv-score data/test/trials --test exp/ge2e/test/dvector.scp -o exp/ge2e/scores
    """
    from sv_toolkit.backends.cosine import cosine_scores
    from sv_toolkit.data.enrollment import read_enrollment
    from sv_toolkit.data.trials import read_trials
    from sv_toolkit.embeddings.lookup import find_embeddings, load_sides, warn_of_repeats
    from sv_toolkit.reporting.results import one_line

    if average_enrollment and (backend is None or enroll_spk2utt is None):
        raise click.UsageError("--average-enrollment needs --backend and --enroll-spk2utt; without a back end models are averages anyway")

    listed = read_trials(trials, trials_format, unique=False)
    models = None if enroll_spk2utt is None else read_enrollment(enroll_spk2utt)
    if backend is None:
        left, right = load_sides(listed, enroll, test, models, allow_missing)
        found = find_embeddings(listed, left, right, allow_missing)
        scores = cosine_scores(left.vectors, right.vectors, found.enroll_index, found.test_index)
    else:
        from sv_toolkit.backends.scoring import score_with_backend

        found, scores = score_with_backend(backend, listed, enroll, test, models, allow_missing, average_enrollment)
    warn_of_repeats(found.trials, models)
    scores = scores.astype("float64").round(DECIMALS)
    write_lines(found.trials.score_lines(scores, DECIMALS), output)
    result = one_line(found.trials, scores, found.num_missing, listed.short_hash)
    click.echo(result if output is not None else f"sv-score: {result}", err=output is None)
