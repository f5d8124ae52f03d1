"""sv-verify: is it the claimed speaker?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from sv_toolkit.cli.common import DIRECTORY, FILE, FINITE, FiniteRange, SvCommand, refuse_given
from sv_toolkit.cli.decision_options import (
    REJECTED,
    decision_options,
    make_purpose,
    model_option,
    open_judge,
    print_moment,
    print_record,
    record,
    warn_of_reach,
)
from sv_toolkit.cli.feature_options import prepare_process

if TYPE_CHECKING:
    from io import BufferedReader

    from sv_toolkit.embeddings.waveform import Embedder
    from sv_toolkit.verification.decision import Decision, Judge
    from sv_toolkit.verification.stream import Moment

MARGIN = 3.0  # of the log-likelihood ratio: 20 times beyond the odds of the threshold


@click.command(cls=SvCommand)
@click.argument("recordings", type=FILE, nargs=-1, metavar="[ENROLLED] TEST")
@model_option
@click.option("--store", type=DIRECTORY, help="Speaker store that sv-enroll made.")
@click.option("--claim", help="Speaker of the store whom the voice claims to be.")
@decision_options
@click.option("--stream", is_flag=True, help="The voice comes from stdin: WAV or raw 16-bit samples, little-endian, one channel.")
@click.option("--rate", type=click.IntRange(1000, 768_000), help="--stream: hertz of raw samples.  [default: the model's]")
@click.option("--history", type=FINITE, help="--stream: seconds that a score looks back over.  [default: 5, or one window of the model]")
@click.option("--hop", type=FINITE, help="--stream: seconds from score to score.  [default: the model's window shift, 1 at most]")
@click.option("--stop-accept", type=FiniteRange(min=0), help="--stream: stop so far over the threshold.  [default: 3 by a calibration]")
@click.option("--stop-reject", type=FiniteRange(min=0), help="--stream: stop so far under it.  [default: 3 by a calibration]")
def command(
    recordings: tuple[Path, ...],
    model: Path,
    store: Path | None,
    claim: str | None,
    prior: float | None,
    cost_miss: float,
    cost_fa: float,
    threshold: float | None,
    as_json: bool,
    exit_code: bool,
    stream: bool,
    channel: int | None,
    resample: bool,
    device: str,
    **following: Any,
) -> None:
    """Compare the recording TEST with the claimed speaker of a store, or with the recording ENROLLED.

    Prints the score (cosine) and, by the calibration of the model, log-likelihood ratio, posterior, decision, and the error
    rates of the threshold on the list of the fit.  Without calibration and --threshold there is a score and no decision.
    A calibration holds for recordings like those of its list: many enrolled recordings, or other telephones, shift scores.

    --stream prints a line for every --hop and stops when the claim is clearly accepted or rejected.

    \b
    Example:
        sv-verify --model exp/ge2e --store speakers --claim alice x.wav
        sv-verify --model exp/ge2e --json --exit-code a.wav b.wav
        arecord -q -f S16_LE -r 16000 | sv-verify --model exp/ge2e --store speakers --claim alice --stream
    """
    _check_usage(recordings, store, claim, stream)
    prepare_process()
    from sv_toolkit.embeddings.waveform import Embedder
    from sv_toolkit.errors import plain
    from sv_toolkit.verification.decision import cosine, warn_of_self

    purpose = make_purpose(prior, cost_miss, cost_fa, threshold)
    embedder = Embedder(model, device)
    judge = open_judge("sv-verify", model, embedder, purpose, exit_code)
    enrolled, enrolled_from = _enrolled(embedder, store, claim, recordings, channel, resample)
    named = {"claim": claim} if claim is not None else {"enrolled": str(recordings[0])}
    if stream:
        decision = _follow(embedder, judge, enrolled, enrolled_from, channel, resample, as_json, named, **following)
    else:
        test = embedder.embed_file(recordings[-1], channel, resample)
        warn_of_self(enrolled_from, test, plain(recordings[-1]))
        decision = judge.decide(cosine(enrolled, test.vector), enrolled_from, test)
        if not decision.accepted and not decision.is_cosine:
            warn_of_reach(judge.out_of_reach(enrolled_from, test, decision.threshold))
        print_record(record(decision, **named, test=str(recordings[-1])), as_json)
    if exit_code and not decision.accepted:
        click.get_current_context().exit(REJECTED)


def _check_usage(recordings: tuple[Path, ...], store: Path | None, claim: str | None, stream: bool) -> None:
    if (store is None) != (claim is None):
        raise click.UsageError(f"Missing option: {'--store' if store is None else '--claim'}: a claim is about a speaker of a store")
    needed = ([] if store is not None else ["ENROLLED"]) + ([] if stream else ["TEST"])
    if not stream:
        refuse_given("belongs to --stream", "rate", "history", "hop", "stop_accept", "stop_reject")
    if stream and (sys.stdin is None or sys.stdin.isatty()):
        raise click.UsageError("Missing sound on stdin: --stream is the end of a pipe, as of arecord -f S16_LE")
    if len(recordings) < len(needed):
        raise click.UsageError(f"Missing argument: {' '.join(needed)}")
    if len(recordings) > len(needed):
        takes = f"{' '.join(needed)} is" if needed else "no recording is"
        raise click.UsageError(f"{len(recordings)} recordings given, {takes} needed{' with --stream' if stream else ''}")


def _enrolled(
    embedder: Embedder, store: Path | None, claim: str | None, recordings: tuple[Path, ...], channel: int | None, resample: bool
) -> tuple[Any, Any]:
    """The enrolled d-vector, and how long what it is made of is."""
    from sv_toolkit.verification.store import read_store

    if store is None or claim is None:
        embedded = embedder.embed_file(recordings[0], channel, resample)
        return embedded.vector, embedded
    known = read_store(store)
    known.refuse_other_model(embedder.digest)
    return known.embeddings[known.row(claim)], known.speakers[claim]


def _follow(
    embedder: Embedder,
    judge: Judge,
    enrolled: Any,
    enrolled_from: Any,
    channel: int | None,
    resample: bool,
    as_json: bool,
    named: dict[str, str],
    rate: int | None,
    history: float | None,
    hop: float | None,
    stop_accept: float | None,
    stop_reject: float | None,
) -> Decision:
    from sv_toolkit.embeddings.waveform import refuse_lower_rate
    from sv_toolkit.errors import AudioError
    from sv_toolkit.io.pcm import PcmStream, resampled
    from sv_toolkit.verification.stream import Follower, StreamOptions

    if not judge.can_decide:
        refuse_given("needs something to decide by: a calibration of the model, or --threshold", "stop_accept", "stop_reject")
    margin = MARGIN if judge.calibration is not None and judge.purpose.threshold is None else None
    options = StreamOptions(history, hop, margin if stop_accept is None else stop_accept, margin if stop_reject is None else stop_reject)
    follower = Follower(embedder, enrolled, enrolled_from, judge, options)
    stdin = cast("BufferedReader", sys.stdin.buffer)
    sound = PcmStream(stdin.read1, rate or embedder.sample_rate, channel)
    if sound.sample_rate < embedder.sample_rate:
        refuse_lower_rate(sound.sample_rate, embedder.sample_rate, "stdin", resample)
    for moment in follower.follow(resampled(sound.blocks(), sound.sample_rate, embedder.sample_rate)):
        if moment.is_early or not moment.is_final:
            print_moment(_moment_record(moment), as_json)
            sys.stdout.flush()
    effort = follower.effort
    click.echo(
        f"sv-verify: {effort.heard:.2f} s of sound, {effort.num_scores} scores, {1000 * effort.spent / effort.heard:.1f} ms of computing"
        f" per second of sound, {1000 * effort.longest:.1f} ms at most for one line",
        err=True,
    )
    if moment.decision is None:
        raise AudioError(f"stdin: {moment.reason}")
    print_record(record(moment.decision, **named, heard=moment.heard, is_early=moment.is_early), as_json)
    return moment.decision


def _moment_record(moment: Moment) -> dict[str, Any]:
    known = {"time": moment.heard, "speech": moment.speech}
    if moment.decision is None:
        return known
    return {**known, "score": moment.decision.score, "llr": moment.decision.llr, "posterior": moment.decision.posterior}
