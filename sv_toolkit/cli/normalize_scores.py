"""sv-normalize-scores: scores beside those with a cohort."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sv_toolkit.cli.common import DECIMALS, DIRECTORY, FILE, SvCommand, trials_format_option, write_lines

if TYPE_CHECKING:
    import numpy as np

    from sv_toolkit.backends.score_norm import Side
    from sv_toolkit.data.enrollment import Models
    from sv_toolkit.data.trials import Trials
    from sv_toolkit.embeddings.loading import EmbeddingSet
    from sv_toolkit.io.tables import Table

LARGEST_ROUNDING = 1e-3  # of scores that were written with three decimals


@click.command(cls=SvCommand)
@click.argument("trials", type=FILE)
@click.argument("scores", type=FILE)
@click.option("--cohort", type=FILE, required=True, help="scp of the cohort's embeddings; its speakers must not be in the trials.")
@click.option("--cohort-utt2spk", type=FILE, help="Speakers of the cohort: each counts once, by the mean of its embeddings.")
@click.option("--enroll", type=FILE, help="scp of the embeddings on the left of the trials.  [default: those of the test side]")
@click.option("--enroll-spk2utt", type=FILE, help="Lines 'model utterance ...': average these first; the left of a trial is then a model.")
@click.option("--test", type=FILE, help="scp of the embeddings on the right.  [default: dvector.scp beside TRIALS, or else --enroll]")
@click.option(
    "--method", type=click.Choice(["z-norm", "t-norm", "s-norm", "as-norm", "as-norm2"]), default="as-norm", show_default=True,
    help="By the left, by the right, by both, by the nearest cohort of each side, by that of the other side.",
)  # fmt: skip
@click.option("--top", type=click.IntRange(min=2), default=300, show_default=True, help="How many of the cohort are near, for as-norm.")
@click.option("--data", type=DIRECTORY, help="Data directory whose utt2spk says the trials' speakers.  [default: that of TRIALS]")
@click.option("-o", "--output", type=FILE, help="Where the scores go.  [default: stdout]")
@trials_format_option
def command(
    trials: Path,
    scores: Path,
    cohort: Path,
    cohort_utt2spk: Path | None,
    enroll: Path | None,
    enroll_spk2utt: Path | None,
    test: Path | None,
    method: str,
    top: int,
    data: Path | None,
    output: Path | None,
    trials_format: str,
) -> None:
    """Normalise the cosine SCORES of TRIALS by the scores of the same embeddings with a cohort.

    as-norm is the adaptive s-norm of Matejka et al. (2017): each side is measured by its --top nearest of the cohort.
    With -o the EER goes to stdout; without, the scores go to stdout and the EER to stderr.

    \b
    Example:
        sv-normalize-scores data/test/trials exp/ge2e/scores --test exp/ge2e/test/dvector.scp \\
            --cohort exp/ge2e/train/dvector.scp --cohort-utt2spk data/train/utt2spk -o exp/ge2e/scores_as_norm
    """
    from sv_toolkit.backends.score_norm import ADAPTIVE, METHODS, Side
    from sv_toolkit.data.enrollment import read_enrollment
    from sv_toolkit.data.trials import read_scores, read_trials
    from sv_toolkit.embeddings.loading import read_embeddings, refuse_different_models
    from sv_toolkit.embeddings.lookup import find_embeddings, load_sides
    from sv_toolkit.reporting.results import one_line

    listed = read_trials(trials, trials_format)
    raw = read_scores(scores, listed)
    models = None if enroll_spk2utt is None else read_enrollment(enroll_spk2utt)
    left, right = load_sides(listed, enroll, test, models, False)
    found = find_embeddings(listed, left, right)
    sides = Side(left.vectors, found.enroll_index), Side(right.vectors, found.test_index)
    _refuse_other_scores(listed, raw, *sides, scores)
    others = read_embeddings(cohort)
    refuse_different_models(right, others)
    speakers = _table(cohort_utt2spk)
    _warn_of_shared(listed, models, others, speakers, data)
    vectors = others.vectors if speakers is None else _by_speaker(others, speakers)
    options = {"top": _affordable(top, len(vectors), cohort)} if method in ADAPTIVE else {}
    normalized = METHODS[method](raw, *sides, vectors, **options).round(DECIMALS)
    write_lines(listed.score_lines(normalized, DECIMALS), output)
    result = one_line(listed, normalized, 0, listed.short_hash)
    click.echo(result if output is not None else f"sv-normalize-scores: {result}", err=output is None)


def _refuse_other_scores(trials: Trials, scores: np.ndarray, enroll: Side, test: Side, where: Path) -> None:
    """The cohort is scored as the trials were, or the result means nothing."""
    import numpy as np

    from sv_toolkit.backends.cosine import cosine_scores
    from sv_toolkit.errors import DataError, plain

    differ = np.abs(scores - cosine_scores(enroll.vectors, test.vectors, enroll.index, test.index)) > LARGEST_ROUNDING
    if differ.any():
        raise DataError(
            f"{plain(where)}: {np.count_nonzero(differ)} of {len(scores)} scores are not the cosines of these embeddings, the first:"
            f" {trials.pair(int(np.argmax(differ)))}; the cohort is scored by the cosine, and so must the trials be (sv-score)"
        )


def _table(path: Path | None) -> Table | None:
    from sv_toolkit.io.tables import read_table

    return None if path is None else read_table(path, sorted_by_bytes=False, max_fields=2, names="utterance speaker")


def _by_speaker(cohort: EmbeddingSet, utt2spk: Table) -> np.ndarray:
    from sv_toolkit.data.cohort import cohort_speakers
    from sv_toolkit.embeddings.enrollment import enroll

    return enroll(cohort, cohort_speakers(utt2spk, cohort.ids)).embeddings


def _warn_of_shared(trials: Trials, models: Models | None, cohort: EmbeddingSet, speakers: Table | None, data: Path | None) -> None:
    from sv_toolkit.data.cohort import shared_with_trials

    beside = (trials.path.parent if data is None else data) / "utt2spk"
    utt2spk = _table(beside) if data is not None or beside.exists() else None
    for problem in shared_with_trials(trials, models, cohort.path, cohort.ids, speakers, utt2spk):
        logging.getLogger("sv_toolkit").warning("%s", problem)


def _affordable(top: int, num_cohort: int, cohort: Path) -> int:
    from sv_toolkit.errors import plain

    if top > num_cohort:
        logging.getLogger("sv_toolkit").warning("%s: a cohort of %d has no nearest %d: all of it is used", plain(cohort), num_cohort, top)
    return min(top, num_cohort)
