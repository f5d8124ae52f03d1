"""Enrollment models of a keyword and the trials against them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prepare_speech_commands import Clip

MOST_ENROLLED = 2


def enrollment_files(clips: list[Clip]) -> dict[str, str]:
    """Texts of enroll1, enroll2, trials_same_keyword and trials_cross_keyword.

    A speaker who said a word three times or more is enrolled with that word, by its first or its first two takes.
    Tested are all clips that no model is made of, so that both numbers of takes answer the same trials.
    """
    takes: dict[tuple[str, str], list[Clip]] = {}
    for clip in clips:
        takes.setdefault((clip.speaker, clip.word), []).append(clip)
    models = {key: said[:MOST_ENROLLED] for key, said in takes.items() if len(said) > MOST_ENROLLED}
    enrolled = {clip for said in models.values() for clip in said}
    tests = [clip for clip in clips if clip not in enrolled]
    files = {}
    for count in range(1, MOST_ENROLLED + 1):
        lines = [f"{speaker}-{word} {' '.join(c.utterance_id for c in said[:count])}\n" for (speaker, word), said in models.items()]
        files[f"enroll{count}"] = "".join(sorted(lines))
    for name, is_same in (("trials_same_keyword", True), ("trials_cross_keyword", False)):
        lines = [
            f"{speaker}-{word} {clip.utterance_id} {'target' if clip.speaker == speaker else 'nontarget'}\n"
            for speaker, word in models
            for clip in tests
            if (clip.word == word) == is_same
        ]
        files[name] = "".join(sorted(lines))
    return files
