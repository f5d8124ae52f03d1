"""The README's table of results says what the recipes' RESULTS.md say, which commands have printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROWS = re.findall(r"^\| (egs/\S+) \|(.*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_table_is_there():
    assert len({recipe for recipe, _ in ROWS}) >= 3


@pytest.mark.parametrize(("recipe", "row"), ROWS, ids=[f"{recipe}{number}" for number, (recipe, _) in enumerate(ROWS)])
def test_every_number_of_a_row_stands_in_the_results_of_its_recipe(recipe, row):
    results = (ROOT / recipe / "RESULTS.md").read_text(encoding="utf-8")
    numbers = re.findall(r"\d+\.\d\d\b", row)
    assert len(numbers) >= 3
    assert [number for number in numbers if number not in results] == []
    assert [found for found in re.findall(r"\b[0-9a-f]{12}\b", row) if found not in results] == []
