"""Random sentences for the synthetic speakers: grammatical, meaningless, and made of every sound of English."""

# ruff: noqa: SIM905 - phrases read best as a text
from __future__ import annotations

import numpy as np

WHO = (
    "my brother,the captain,a young nurse,our neighbour,the old fisherman,every child,the choir,that lawyer,two gardeners,the museum guide,"
    "his cousin Joy,a quiet stranger,the baker,your teacher,four sailors,the judge,some visitors,the watchmaker,her aunt,a thirsty hiker"
).split(",")
DID = (
    "carried,painted,forgot,measured,found,borrowed,photographed,sold,washed,described,hid,buried,weighed,repaired,followed,brought back,"
    "admired,pushed,threw away,examined"
).split(",")
WHAT = (
    "the yellow umbrella,a box of oranges,three silver spoons,the broken bicycle,an empty bottle,the longest rope,a jar of honey,"
    "the garage key,a rusty bridge,the paper lantern,nine wooden chairs,the judge's coat,a pair of shoes,the fresh bread,a dozen eggs,"
    "the television,the heavy anchor,a basket of mushrooms,the purple curtain,an unusual stone"
).split(",")
WHERE = (
    "near the river,behind the church,in the kitchen,at the railway station,under the oak tree,across the valley,on the roof,"
    "beside the harbour,outside the village,along the beach,by the fire,through the orchard,above the theatre,at the edge of the field"
).split(",")
WHEN = (
    "yesterday,before sunrise,on Thursday morning,last January,during the storm,after supper,once again,at a quarter past five,"
    "all winter,without a word,for the first time,just in time"
).split(",")
WHY = (
    "because the weather was changing,so that nobody would notice,while the others were asleep,although it was much too late,"
    "and then went home,but never spoke of it,which made the dog bark,as the bells were ringing"
).split(",")
PARTS = (
    (WHO, DID, WHAT, WHERE),
    (WHO, DID, WHAT, WHEN),
    (WHEN, WHO, DID, WHAT),
    (WHERE, WHO, DID, WHAT),
    (WHO, DID, WHAT, WHERE, WHEN),
    (WHO, DID, WHAT, WHY),
    (WHEN, WHO, DID, WHAT, WHERE),
)


def random_sentence(rng: np.random.Generator) -> str:
    """One sentence of 6 to 16 words."""
    parts = PARTS[rng.integers(len(PARTS))]
    words = " ".join(part[rng.integers(len(part))] for part in parts)
    return words[0].upper() + words[1:] + "."
