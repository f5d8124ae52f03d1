"""Start from the weights of another model: pre-training and fine-tuning (Li et al. 2017, section 3.4)."""

from __future__ import annotations

import fnmatch
import logging
from pathlib import Path

from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.data.feature_making import refuse_unlike
from sv_toolkit.errors import ModelError, examples, plain
from sv_toolkit.models.network import SpeakerNetwork
from sv_toolkit.models.store import load_model

logger = logging.getLogger("sv_toolkit")


def start_from(network: SpeakerNetwork, folder: Path, skip: tuple[str, ...], index: FeatureIndex) -> None:
    """Copy the weights of the model in `folder` into the network, tensor by tensor, by name.

    Args:
        skip: patterns of names (`linear.*`) that are left as they are; every other tensor must be there and fit.
        index: the features to go on with; which of their frames are kept may differ from the first training.

    Raises:
        ModelError: lists what does not fit; a pattern that matches nothing.
    """
    first, description = load_model(folder)
    refuse_unlike(index, description.feature_dim, description.features, False, f"the model {plain(folder)}")
    given = first.state_dict()
    own = network.state_dict()
    left = {name for name in own.keys() | given.keys() if any(fnmatch.fnmatchcase(name, pattern) for pattern in skip)}
    unused = [pattern for pattern in skip if not fnmatch.filter(own.keys() | given.keys(), pattern)]
    if unused:
        raise ModelError(f"{plain(folder)}: --init-skip {examples(unused)} matches no tensor; names are {examples(sorted(own), 5)}")
    misfits = sorted(
        name for name in (own.keys() | given.keys()) - left if name not in own or name not in given or own[name].shape != given[name].shape
    )
    if misfits:
        raise ModelError(
            f"{plain(folder)}: {len(misfits)} tensors are not in both networks with the same shape ({examples(misfits, 5)}); "
            "--init-skip 'NAME*' leaves them as they are drawn"
        )
    network.load_state_dict({name: own[name] if name in left else given[name] for name in own})
    fresh = sorted(left & own.keys())
    logger.info(
        "weights of %s: %d tensors taken over, %d drawn anew%s",
        plain(folder), len(own) - len(fresh), len(fresh), f" ({examples(fresh, 5)})" if fresh else "",
    )  # fmt: skip
