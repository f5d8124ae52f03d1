"""Enrollment maps: lines `model-id utterance utterance ...`, as in `spk2utt`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sv_toolkit.errors import DataError, plain
from sv_toolkit.io.tables import read_table

Models = Mapping[str, Sequence[str]]


def read_enrollment(path: Path) -> dict[str, list[str]]:
    """The map model -> utterances.

    Raises:
        DataError: names the line of a model without utterances, or with one twice.
    """
    table = read_table(path, sorted_by_bytes=False, min_fields=1, names="model utterance ...")
    utterances_of = {model: value.split() for model, value in table.items()}
    for model, utterances in utterances_of.items():
        if not utterances:
            raise DataError(f"{table.where(model)}: the model {plain(model)} has no utterances; give it one or delete the line")
        if len(set(utterances)) < len(utterances):
            twice = next(utterance for utterance in utterances if utterances.count(utterance) > 1)
            raise DataError(f"{table.where(model)}: {plain(twice)} stands twice in the model {plain(model)}; delete one")
    return utterances_of
