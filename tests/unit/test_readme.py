"""README and docs say what is."""

import re
from pathlib import Path

from sandbox import intrinsics

ROOT = Path(__file__).parents[2]


def test_the_settings_table_is_the_templates() -> None:
    """docs/settings.md lists every parameter with its default, and none that the template does not have."""
    parameters = intrinsics.load(ROOT / "template.yaml")["Parameters"]
    table = (ROOT / "docs" / "settings.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \|\s*(?:`([^`]*)`)? ?\|", table, re.MULTILINE))
    assert rows == {name: str(declared.get("Default", "")) for name, declared in parameters.items()}


def test_every_link_leads_somewhere() -> None:
    """Files that README and docs link to are there."""
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_is_short_enough_to_read_to_its_end() -> None:
    """At most 250 lines: what is longer belongs into docs/."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 250


def test_the_first_push_has_ten_steps() -> None:
    """docs/first-push.md numbers ten steps, each with a command; README links to it from its head and from Deploy."""
    page = (ROOT / "docs" / "first-push.md").read_text()
    steps = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    assert [step.partition(".")[0] for step in steps] == [str(n + 1) for n in range(10)]
    assert all(re.search(r"^(\$ |sam |aws )", step, re.MULTILINE) for step in steps)
    assert (ROOT / "README.md").read_text().count("](docs/first-push.md)") >= 2
