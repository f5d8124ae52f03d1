"""Whether the features of two data directories were made alike, as far as their manifests say how."""

from __future__ import annotations

from typing import Any

from sv_toolkit.data.described import differing_options
from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.errors import ModelError, plain
from sv_toolkit.features.registry import FEATURES


def refuse_unlike(index: FeatureIndex, dim: int, made: dict[str, Any], use_vad: bool, whose: str) -> None:
    """Stop where features were made in another way than those they have to go with.

    Args:
        dim: columns that are needed.
        made: as `FeatureIndex.made_by` gives it; features that do not say how they were made pass.
        use_vad: whether the decisions of vad.scp are read; nothing depends on them otherwise.
        whose: what needs such features, for the message.

    Raises:
        ModelError: names the columns, or the options that differ.
    """
    if index.dim != dim:
        raise ModelError(f"{plain(index.path)}: features have {index.dim} columns, {whose} needs {dim}")
    found = index.made_by()
    kinds, needed = ([kind for kind in FEATURES if kind in known] for known in (found, made))
    if kinds and needed and not set(kinds) & set(needed):
        raise ModelError(f"{plain(index.path)}: features are {kinds[0]}, {whose} needs {needed[0]}; extract them again")
    for kind in (*FEATURES, *(("vad",) if use_vad else ())):
        if kind in found and kind in made and (differing := differing_options(found[kind]["config"], made[kind]["config"])):
            raise ModelError(f"{plain(index.path)}: {kind} was made with other options than {whose} needs: {differing}")
