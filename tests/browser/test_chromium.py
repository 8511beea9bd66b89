"""That the pages can be tested here at all."""

from playwright.sync_api import Page, expect


def test_it_shows_a_page(page: Page) -> None:
    """Chromium starts, runs a script and shows what it wrote."""
    page.set_content("<h1></h1><script>document.querySelector('h1').textContent = 6 * 7</script>")
    expect(page.get_by_role("heading")).to_have_text("42")
