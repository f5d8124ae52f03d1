"""`NAME=PATH` on a command line: which path belongs to which of several systems."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import click

Found = TypeVar("Found")


def parse_system(text: str) -> tuple[str, tuple[Path, Path]]:
    """Name, trial list and scores of `NAME=TRIALS,SCORES`, `NAME=FOLDER` or `FOLDER` (with files `trials` and `scores`).

    A folder's name may hold `=`; of several commas the one that parts two existing files counts.
    """
    if Path(text).is_dir():
        name, path = Path(text).resolve().name, text
    else:
        name, equals, path = text.partition("=")
        if not equals or not name or not path:
            raise click.BadParameter(
                f"needs NAME=TRIALS,SCORES, or a folder with files trials and scores, got {text!r}", param_hint="SYSTEM"
            )
    trials, scores = two_paths(path)
    return name, (trials, scores) if scores is not None else (Path(path) / "trials", Path(path) / "scores")


def two_paths(text: str) -> tuple[Path, Path | None]:
    """`A,B` as two paths, `A` as one; a single path that exists may hold commas."""
    if "," not in text or Path(text).exists():
        return Path(text), None
    places = [place for place, letter in enumerate(text) if letter == ","]
    pairs = [(Path(text[:place]), Path(text[place + 1 :])) for place in places]
    return next((pair for pair in pairs if pair[0].exists() and pair[1].exists()), pairs[0])


def split_name(text: str, only: str | None) -> tuple[str, str]:
    """Name and path of `NAME=PATH`; a path alone is that of the only system there is, or is called by its last part."""
    name, equals, path = text.partition("=")
    if equals and name and path and not Path(text).exists():
        return name, path
    return only if only is not None else Path(text).resolve().name, text


def named_once(pairs: Iterable[tuple[str, Found]], option: str) -> list[tuple[str, Found]]:
    """The pairs, of which no two have one name."""
    listed = list(pairs)
    names = [name for name, _ in listed]
    again = next((name for name in names if names.count(name) > 1), None)
    if again is not None:
        raise click.BadParameter(f"two are called {again!r}; tell them apart with NAME=", param_hint=option)
    return listed


def by_system(texts: Sequence[str], systems: Mapping[str, object], option: str) -> dict[str, Path]:
    """The path for each system: `NAME=PATH` for one, `PATH` for all that have none of their own."""
    own: dict[str, Path] = {}
    for_all: list[Path] = []
    for text in texts:
        name, equals, path = text.partition("=")
        if equals and name in systems:
            own[name] = Path(path)
        elif equals and name and not Path(text).exists():
            refuse_unknown([name], systems, option)
        else:
            for_all.append(Path(text))
    if len(for_all) > 1:
        raise click.BadParameter("more than one path without NAME=; say which system each is for", param_hint=option)
    return {name: own[name] if name in own else for_all[0] for name in systems if name in own or for_all}


def refuse_unknown(names: Iterable[str], known: Mapping[str, object], option: str) -> None:
    """A name that nothing has is a mistake, not a wish."""
    for name in names:
        if name not in known:
            raise click.BadParameter(f"nothing is called {name!r}; known: {', '.join(known) or 'nothing'}", param_hint=option)
