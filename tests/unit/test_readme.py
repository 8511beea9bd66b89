"""The README says what is."""

import re
from pathlib import Path

from sandbox import intrinsics

ROOT = Path(__file__).parents[2]


def test_the_settings_table_is_the_templates() -> None:
    """Every parameter with its default stands in the README's table, and none that is not there."""
    parameters = intrinsics.load(ROOT / "template.yaml")["Parameters"]
    table = (ROOT / "README.md").read_text().split("## Settings")[1].split("## Results")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \|\s*(?:`([^`]*)`)? ?\|", table, re.MULTILINE))
    assert rows == {name: str(declared.get("Default", "")) for name, declared in parameters.items()}


def test_every_link_leads_somewhere() -> None:
    """Files that README and docs link to are there."""
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
