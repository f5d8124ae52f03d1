"""The tables of results in README and docs/results.md say what the recipes' RESULTS.md say, which commands have printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sv_toolkit.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/results.md")}
ROWS = [row for page in PAGES.values() for row in re.findall(r"^\| (egs/\S+) \|(.*)$", page, re.MULTILINE)]


@pytest.mark.parametrize("page", PAGES)
def test_the_table_is_there(page):
    assert len(set(re.findall(r"^\| (egs/\S+) \|", PAGES[page], re.MULTILINE))) >= 3


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")) if "://" not in target]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []


def test_every_command_stands_in_the_table_of_commands():
    table = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"`{name}" not in table] == []


@pytest.mark.parametrize(("recipe", "row"), ROWS, ids=[f"{recipe}{number}" for number, (recipe, _) in enumerate(ROWS)])
def test_every_number_of_a_row_stands_in_the_results_of_its_recipe(recipe, row):
    results = (ROOT / recipe / "RESULTS.md").read_text(encoding="utf-8")
    numbers = re.findall(r"\d+\.\d\d\b", row)
    assert len(numbers) >= 3
    assert [number for number in numbers if number not in results] == []
    assert [found for found in re.findall(r"\b[0-9a-f]{12}\b", row) if found not in results] == []
