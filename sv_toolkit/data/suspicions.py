"""What is possible in a data directory, and rarely meant: speakers out of balance, ids equal to the eye, one recording of two speakers."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from sv_toolkit.errors import Problem, examples, plain
from sv_toolkit.io.tables import Table, place

MANY = 20  # utterances of a speaker, below which nothing is called out of balance
LOPSIDED = 10  # times the utterances of the speaker in the middle


def speaker_notes(path: Path, speakers: list[str], counts: np.ndarray) -> list[Problem]:
    """Speakers with far more or far fewer utterances than training and trials need.

    Args:
        path: the file utt2spk.
        counts: `(num_speakers,)` utterances of each.
    """
    where, notes = place(path), []
    if len(speakers) == 1 and counts[0] > 1:
        notes.append(Problem(where, f"all {counts[0]} utterances are of one speaker: there is nobody to tell apart"))
    single = int(np.count_nonzero(counts == 1))
    if len(speakers) > 1 and 2 * single > len(speakers):
        what = f"{single} of {len(speakers)} speakers have a single utterance: nothing can be compared with it as the same speaker"
        notes.append(Problem(where, what, "sv-subset-data --min-per-speaker 2 drops them"))
    if len(speakers) > 1 and counts.max() >= MANY and counts.max() >= LOPSIDED * np.median(counts):
        first, middle = int(np.argmax(counts)), np.median(counts)
        what = f"{plain(speakers[first], 80)} has {counts[first]} utterances, the median of {len(speakers)} speakers is {middle:g}"
        notes.append(Problem(where, what, "sv-subset-data --per-speaker takes as many of each at most"))
    return notes


def id_notes(path: Path, ids: Iterable[str], what: str) -> list[Problem]:
    """Ids that stand for different things and look alike: equal but for their Unicode form, or for upper and lower case."""
    forms: dict[str, str] = {}
    alike = [(forms.setdefault(unicodedata.normalize("NFC", key).casefold(), key), key) for key in ids]
    pairs = [(first, second) for first, second in alike if first != second]
    if not pairs:
        return []
    first, second = pairs[0]
    is_form = unicodedata.normalize("NFC", first) == unicodedata.normalize("NFC", second)
    how = "their Unicode form (composed or not, NFC or NFD)" if is_form else "upper and lower case"
    text = f"{len(pairs)} {what} equal but for {how}: {ascii(first)[1:-1]} and {ascii(second)[1:-1]}"
    return [Problem(place(path), text, "if they are the same, write them alike in all tables")]


def table_notes(tables: Mapping[str, Table]) -> list[Problem]:
    """Notes that need more tables than utt2spk."""
    utt2spk = tables.get("utt2spk")
    if utt2spk is None:
        return []
    notes = _one_session(utt2spk, tables["utt2session"]) if "utt2session" in tables else []
    if "wav.scp" in tables and "segments" not in tables:
        notes += _shared_recordings(utt2spk, tables["wav.scp"], tables.get("utt2speed", {}))
    return notes


def _one_session(utt2spk: Table, sessions: Table) -> list[Problem]:
    own: dict[str, set[str]] = {}
    for key in utt2spk.keys() & sessions.keys():
        own.setdefault(utt2spk[key], set()).add(sessions[key])
    if len(own) < 2 or any(len(found) > 1 for found in own.values()) or len(own) == len(utt2spk):
        return []
    what = "every speaker has one session: channel and speaker cannot be told apart, and target trials are easier than in use"
    return [Problem(place(sessions.path), what)]


def _shared_recordings(utt2spk: Table, wav: Table, speeds: Mapping[str, str]) -> list[Problem]:
    owner: dict[tuple[str, str], str] = {}
    shared = []
    for key, value in wav.items():
        first = owner.setdefault((value, speeds.get(key, "1")), key)
        if utt2spk.get(first) != utt2spk.get(key):
            shared.append(key)
    if not shared:
        return []
    what = f"{len(shared)} recordings stand under another speaker already: {examples(shared)}"
    return [Problem(wav.where(shared[0]), what, "one voice under two names spoils training and trials")]
