"""Options and lines that the commands share which decide about recordings; not a command."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sv_toolkit.cli.common import MODEL, PRIOR, FiniteRange, device_option
from sv_toolkit.errors import plain

if TYPE_CHECKING:
    from sv_toolkit.embeddings.waveform import Embedder
    from sv_toolkit.verification.decision import Decision, Judge, Purpose

REJECTED = 3  # exit status with --exit-code; 1 and 2 are errors
COST = FiniteRange(0, min_open=True)

model_option = click.option(
    "--model", type=MODEL, default="default", help="Model folder; its calibration.json decides.  [default: the ready model]"
)
channel_option = click.option("--channel", type=click.IntRange(min=0), help="Channel to read, from 0, where there are several.")
resample_option = click.option(
    "--resample", is_flag=True, help="Also convert recordings of a lower sample rate than the model's; a higher one always is."
)
_PURPOSE = [
    click.option("--prior", type=PRIOR, help="Probability of a true claim, before hearing it.  [default: the calibration's]"),
    click.option("--cost-miss", type=COST, default=1.0, show_default=True, help="What rejecting the right speaker costs."),
    click.option("--cost-fa", type=COST, default=1.0, show_default=True, help="What accepting another speaker costs."),
    click.option("--threshold", type=FiniteRange(-1, 1), help="Accept from this score (cosine) on, instead of by prior and costs."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    click.option("--exit-code", is_flag=True, help=f"Exit with {REJECTED} for a rejection; otherwise every decision exits with 0."),
    channel_option,
    resample_option,
    device_option,
]


def decision_options(function: Any) -> Any:
    """Add what decisions depend on, and how they are told."""
    for option in reversed(_PURPOSE):
        function = option(function)
    return function


def make_purpose(prior: float | None, cost_miss: float, cost_fa: float, threshold: float | None) -> Purpose:
    """The options as the library takes them."""
    from sv_toolkit.verification.decision import Purpose

    return Purpose(prior, cost_miss, cost_fa, threshold)


def open_judge(name: str, model: Path, embedder: Embedder, purpose: Purpose, must_decide: bool) -> Judge:
    """The judge of a model; says what to do where there is nothing to decide by."""
    from sv_toolkit.errors import ConfigError
    from sv_toolkit.verification.decision import MAKE_ONE, read_judge

    judge = read_judge(model, embedder.digest, purpose)
    embedder.seen = None if judge.calibration is None else judge.calibration.seconds
    if not judge.can_decide:
        way_out = f"{MAKE_ONE.format(model=plain(model))}, or give --threshold"
        if must_decide:
            raise ConfigError(f"{plain(model)}: has no calibration, and --exit-code needs a decision; {way_out}")
        click.echo(f"{name}: {model} has no calibration: a score and no decision; {way_out}", err=True)
    return judge


def warn_of_reach(sentence: str | None) -> None:
    """Say why no recording, or none of the calibration's list, is accepted."""
    if sentence is not None:
        click.echo(f"warning: {sentence}", err=True)


def word(accepted: bool | None) -> str | None:
    """The decision in a word."""
    return None if accepted is None else "accept" if accepted else "reject"


def record(decision: Decision, **more: object) -> dict[str, Any]:
    """A decision as JSON-ready keys and values."""
    made_of = decision.list
    return {
        **more,
        "score": decision.score,
        "llr": decision.llr,
        "prior": decision.prior,
        "posterior": decision.posterior,
        "threshold": decision.threshold,
        "threshold_of": None if decision.threshold is None else "score" if decision.is_cosine else "llr",
        "decision": word(decision.accepted),
        "false_alarm_rate": decision.false_alarm_rate,
        "miss_rate": decision.miss_rate,
        "list": None if made_of is None else asdict(made_of),
    }


def print_record(content: dict[str, Any], as_json: bool) -> None:
    """One JSON object on a line, or a line `key value` for everything that is known."""
    if as_json:
        click.echo(json.dumps(content, ensure_ascii=False))
        return
    made_of = content.get("list")
    for key, value in content.items():
        if key == "list" and made_of:
            click.echo(f"list {made_of['name']} {made_of['hash']}: {made_of['num_targets']} target, {made_of['num_nontargets']} nontarget")
        elif value is not None:
            click.echo(f"{key} {_in_words(value)}")


def _in_words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6f}" if isinstance(value, float) else plain(value)


def print_moment(content: dict[str, Any], as_json: bool) -> None:
    """What is known, on one line: as JSON or `key value key value ...`."""
    known = {key: value for key, value in content.items() if value is not None}
    words = (f"{key} {value:.4f}" if isinstance(value, float) else f"{key} {plain(value)}" for key, value in known.items())
    click.echo(json.dumps(known) if as_json else " ".join(words))
