"""Proof, by arrays, that the tables of a data directory are fine: the fast way through validation for millions of utterances.

`counts_if_clean` says yes, or nothing: what it cannot prove, validation.py examines line by line, and says what is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sv_toolkit.data.consistency import SPED_UP
from sv_toolkit.data.forms import BY_UTTERANCE, DERIVED, FORMS, PARSERS, check, parse_values
from sv_toolkit.errors import DataError
from sv_toolkit.io.ids import Ids
from sv_toolkit.io.table_arrays import pieces, read_integers, read_places, read_words

SPECIAL = ("utt2spk", "spk2utt", "wav.scp", "spk2gender", *DERIVED)
LARGE = 1 << 22  # bytes of utt2spk: smaller directories are examined as fast line by line


def counts_if_clean(path: Path, speaker_prefix: bool, need_wav: bool) -> tuple[int, int] | None:
    """Numbers of utterances and speakers of a data directory in whose tables nothing is wrong; None where that is not proven."""
    found = speakers_if_clean(path, speaker_prefix, need_wav)
    return found and (len(found[0]), len(found[2]))


def speakers_if_clean(path: Path, speaker_prefix: bool, need_wav: bool) -> tuple[Ids, np.ndarray, list[str]] | None:
    """utt2spk, as `read_words` gives it, of a data directory in whose tables nothing is wrong; None where that is not proven."""
    there = [name for name in FORMS if os.path.lexists(path / name)]
    if "segments" in there or "reco2file_and_channel" in there or (need_wav and "wav.scp" not in there):
        return None
    if not (path / "utt2spk").is_file() or (path / "utt2spk").stat().st_size < LARGE or _size(path / "skipped.tsv"):
        return None
    found = read_words(path / "utt2spk")
    if found is None:
        return None
    ids, codes, speakers = found
    if b"sp" in ids.content() and any(SPED_UP.search(key) for key in ids) and "utt2speed" not in there:
        return None
    if speaker_prefix and (np.diff(codes) < 0).any():
        return None
    if speaker_prefix and not all(key.startswith(speakers[code]) for key, code in zip(ids, codes.tolist())):
        return None
    checks: dict[str, Callable[[Path], bool]] = {
        "wav.scp": lambda file: _is_audio_table(file, ids),
        "spk2utt": lambda file: _is_inverse(file, ids, codes, speakers),
        "spk2gender": lambda file: _is_parsed(file, speakers),
        "utt2num_frames": lambda file: _are_counts(file, ids),
        **dict.fromkeys(("feats.scp", "vad.scp"), lambda file: _has_ids(read_places(file, ids), ids)),
        **{name: lambda file: _is_labelled(file, ids) for name in BY_UTTERANCE if name != "utt2spk"},
    }
    if all(checks[name](path / name) for name in there if name != "utt2spk"):
        return found
    return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _has_ids(found: tuple | None, ids: Ids) -> bool:
    return found is not None and (found[0] is ids or found[0] == ids)


def _are_counts(file: Path, ids: Ids) -> bool:
    found = read_integers(file, ids)
    return found is not None and _has_ids(found, ids) and bool((found[1] > 0).all())


def _is_labelled(file: Path, ids: Ids) -> bool:
    """Whether a table has one word for every utterance, of the form that its name asks for."""
    found = read_words(file, ids)
    if found is None or not _has_ids(found, ids):
        return False
    parse = PARSERS.get(file.name)
    try:
        for word in found[2] if parse else ():
            parse(word)  # type: ignore[misc]
    except DataError:
        return False
    return True


def _is_parsed(file: Path, speakers: list[str]) -> bool:
    table, problems = check(file)
    return not problems and not parse_values(table)[1] and list(table) == speakers


def _is_audio_table(file: Path, ids: Ids) -> bool:
    """Whether every utterance has a path that is no command and starts with no tilde."""
    first = 0
    content = ids.content()
    for piece in pieces(file):
        if piece is None:
            return False
        starts, ends = piece.codes[piece.blanks + 1], piece.codes[piece.ends - 1]
        if np.isin(starts, np.frombuffer(b"|~", np.uint8)).any() or (ends == ord("|")).any():
            return False
        keys, lengths = piece.keys()
        stop = first + len(keys)
        if keys.tobytes() != content[first:stop] or not ids.ends_at(first, lengths):
            return False
        first = stop
    return first == len(content)


def _is_inverse(file: Path, ids: Ids, codes: np.ndarray, speakers: list[str]) -> bool:
    """Whether spk2utt is what utt2spk says, every speaker's utterances in order."""
    groups: list[list[str]] = [[] for _ in speakers]
    for key, code in zip(ids, codes.tolist()):
        groups[code].append(key)
    with open(file, encoding="utf-8", errors="replace", newline="\n") as stream:
        lines = iter(stream)
        is_same = all(next(lines, "") == f"{speaker} {' '.join(own)}\n" for speaker, own in zip(speakers, groups))
        return is_same and next(lines, None) is None
