"""sv-identify: who of the enrolled is it, or nobody?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from sv_toolkit.cli.common import DIRECTORY, FILE, SvCommand
from sv_toolkit.cli.decision_options import (
    REJECTED,
    decision_options,
    make_purpose,
    model_option,
    open_judge,
    print_moment,
    print_record,
    warn_of_reach,
)
from sv_toolkit.cli.feature_options import prepare_process


@click.command(cls=SvCommand)
@click.argument("recording", type=FILE)
@model_option
@click.option("--store", type=DIRECTORY, required=True, help="Speaker store that sv-enroll made.")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Candidates to print.")
@decision_options
def command(
    recording: Path,
    model: Path,
    store: Path,
    top: int,
    prior: float | None,
    cost_miss: float,
    cost_fa: float,
    threshold: float | None,
    as_json: bool,
    exit_code: bool,
    channel: int | None,
    resample: bool,
    device: str,
) -> None:
    """Say who of the speakers in a store the RECORDING is of, or that it is none of them (decision: known, unknown).

    --prior is the probability that it is any of them.  It is split evenly, prior / N each, and the rest is for somebody
    unknown; so the best of N is named if its log-likelihood ratio reaches ln(N (1 - prior) / prior), for equal costs.
    Somebody unknown is named at most N times as often as one claim is falsely accepted: false_alarm_bound.

    \b
    Example:
        sv-identify --model exp/ge2e --store speakers x.wav
        sv-identify --model exp/ge2e --store speakers --top 10 --prior 0.5 --json x.wav
    """
    prepare_process()
    from sv_toolkit.embeddings.waveform import Embedder
    from sv_toolkit.errors import plain
    from sv_toolkit.verification.decision import warn_of_self
    from sv_toolkit.verification.identification import identify
    from sv_toolkit.verification.store import read_store

    purpose, embedder, known = make_purpose(prior, cost_miss, cost_fa, threshold), Embedder(model, device), read_store(store)
    known.refuse_other_model(embedder.digest)
    judge = open_judge("sv-identify", model, embedder, purpose, exit_code)
    test = embedder.embed_file(recording, channel, resample)
    for entry in known.speakers.values():
        warn_of_self(entry, test, plain(recording))
    found = identify(known, test, judge)
    if found.speaker is None and not found.is_cosine:
        warn_of_reach(judge.out_of_reach(known.speakers[found.candidates[0].speaker], test, found.threshold))
    best = [asdict(candidate) for candidate in found.candidates[:top]]
    made_of = judge.calibration.list if judge.calibration is not None else None
    content = {
        "test": str(recording),
        "num_enrolled": len(found.candidates),
        "decision": ("unknown" if found.speaker is None else "known") if found.is_decided else None,
        "speaker": found.speaker,
        "threshold": found.threshold,
        "threshold_of": None if found.threshold is None else "score" if found.is_cosine else "llr",
        "prior": found.prior,
        "posterior_unknown": found.nobody,
        "false_alarm_bound": found.false_alarm_bound,
        "miss_rate": found.miss_rate,
        "list": None if made_of is None else asdict(made_of),
    }
    print_record({**content, "candidates": best} if as_json else content, as_json)
    for candidate in [] if as_json else best:
        print_moment({"candidate": candidate.pop("speaker"), **candidate}, as_json=False)
    if exit_code and found.speaker is None:
        click.get_current_context().exit(REJECTED)
