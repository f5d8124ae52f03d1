#!/usr/bin/env python3
"""Write the tables of the ready model's card from what the recipe measured; `--help` shows how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from sv_toolkit.cli.common import DIRECTORY, FILE, SvCommand
from sv_toolkit.errors import DataError

BEGIN, END = "<!-- {} -->", "<!-- end of {} -->"
LISTS = {
    "an4/test": "AN4 test, utterances of 1 to 6 s",
    "keywords/test": "Speech Commands test, 1 s",
    "synthetic/test": "synthetic voices, 2 to 5 s",
    "readers/halves": "held-out readers, halves of recordings, 5 to 8 s",
    "readers/dev": "held-out readers, pieces of 2.4 s",
    "readers/short": "held-out readers, pieces of 1.6 s",
}


def read_result(path: Path) -> dict[str, Any]:
    """Numbers of all trials of what `sv-eval --json` wrote.

    Raises:
        DataError: no such file, with the stage that makes it.
    """
    if not path.exists():
        raise DataError(f"{path}: missing; run stage 8")
    return json.loads(path.read_text())["all trials"]


def rate(result: dict[str, Any]) -> str:
    """EER with its interval, in per cent."""
    interval = result["eer"]["interval"]
    bounds = f" [{100 * interval['low']:.2f}, {100 * interval['high']:.2f}]" if interval else ""
    return f"{100 * result['eer']['value']:.2f} %{bounds}"


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [heads, ["---"] * len(heads), *rows])


def error_rates(exp: Path) -> str:
    """EER and untrained control of every list."""
    rows = []
    for name, words in LISTS.items():
        own, control = read_result(exp / name / "eval.json"), exp / "control" / name / "eval.json"
        trials = f"{own['num_targets']} / {own['num_nontargets']}"
        rows.append(
            [words, str(own["num_speakers"]), trials, rate(own), rate(read_result(control)).split(" [")[0] if control.exists() else "–"]
        )
    return table(["list", "speakers", "target / nontarget trials", "EER [95 %]", "untrained control"], rows)


def costs(exp: Path) -> str:
    """What the calibration costs on lists of other speakers."""
    rows = []
    for name in ("an4/test", "keywords/test", "synthetic/test"):
        result = read_result(exp / name / "llrs.json")
        actual, least = result["actual_dcf"]["p_target 0.05"], result["min_dcf"]["p_target 0.05"]["value"]
        rows.append([LISTS[name], f"{actual:.3f}", f"{least:.3f}", f"{100 * (actual / least - 1):.0f} %"])
    return table(["list", "actual cost", "least cost", "above"], rows)


def codecs(path: Path) -> str:
    """Cosine and EER through codecs and in noise, of what benchmarks/codecs.py wrote."""
    results = json.loads(path.read_text())["results"]
    rows = [
        [name, f"{own['median_cosine']:.3f}", f"{own['least_cosine']:.3f}", f"{100 * own['eer']:.2f} %"] for name, own in results.items()
    ]
    return table(["copy", "median cosine", "least", "EER of recordings against copies"], rows)


def replaced(text: str, name: str, section: str) -> str:
    """`text` with `section` between the two marks of `name`.

    Raises:
        DataError: the marks do not stand once each, in this order.
    """
    begin, end = BEGIN.format(name), END.format(name)
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise DataError(f"the card needs the marks {begin} and {end}, once each and in this order")
    return text[: text.index(begin)] + f"{begin}\n{section}\n" + text[text.index(end) :]


@click.command(cls=SvCommand)
@click.argument("exp", type=DIRECTORY)
@click.argument("codecs_json", type=FILE)
@click.argument("card", type=FILE)
def command(exp: Path, codecs_json: Path, card: Path) -> None:
    """Replace the tables of CARD by those of the model in EXP; CODECS_JSON comes from benchmarks/codecs.py.

    \b
    Example:
        local/card_tables.py exp/lstm ../../../benchmarks/results/codecs.json ../../../sv_toolkit/ready/CARD.md
    """
    from sv_toolkit.io.files import write_text

    text = card.read_text()
    for name, section in {"error rates": error_rates(exp), "costs": costs(exp), "codecs": codecs(codecs_json)}.items():
        text = replaced(text, name, section)
    write_text(card, text)
    click.echo(f"tables of {card} are those of {exp}")


if __name__ == "__main__":
    command()
