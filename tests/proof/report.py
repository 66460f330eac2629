"""The report of `infopair simulate` in a real browser: each plot has a curve for each rule, that can
be seen, in a light and in a dark page; nothing is fetched, and it fits a narrow window and print.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

from support.browser import Browser  # noqa: E402

RULES = ["uniform", "policy_trace", "dopt,pool.picks=1", "best_vs_worst"]
POOLS = [4, 16]

# Length and colour of each curve, by the figure it stands in.
CURVES = """
return [...document.querySelectorAll('figure')].map(figure => ({
    title: figure.querySelector('figcaption').textContent,
    curves: [...figure.querySelectorAll('path.curve')].map(path => ({
        rule: path.dataset.rule, length: path.getTotalLength(),
        colour: getComputedStyle(path).stroke})),
    bars: [...figure.querySelectorAll('rect.bar')].map(bar => ({
        rule: bar.dataset.rule, width: bar.getBBox().width})),
    legend: [...figure.querySelectorAll('.legend li')].map(item => item.textContent.trim()),
    outside: [...figure.querySelectorAll('path.curve, .band, rect.bar')].filter(part => {
        const box = part.getBBox(), view = part.ownerSVGElement.viewBox.baseVal;
        return box.x < -1 || box.y < -1 || box.x + box.width > view.width + 1 ||
               box.y + box.height > view.height + 1;
    }).length}));
"""
PAGE = """
const style = getComputedStyle(document.body);
return {background: style.backgroundColor, ink: style.color,
        fetched: performance.getEntriesByType('resource').length,
        wide: document.documentElement.scrollWidth > window.innerWidth};
"""


def brightness(colour):
    """Of "rgb(r, g, b)", 0 to 255."""
    red, green, blue = [int(part) for part in colour[4:-1].split(",")]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def check_figures(figures):
    titles = [figure["title"] for figure in figures]
    assert len([title for title in titles if " by pool" in title]) == 2, titles
    for words in ("Gap of the policy", "Labels until", "Spectrum"):
        assert len([title for title in titles if title.startswith(words)]) == len(POOLS), titles
    for figure in figures:
        assert figure["outside"] == 0, f"{figure['title']}: parts lie outside of the picture"
        if figure["bars"]:
            assert [bar["rule"] for bar in figure["bars"]] == RULES, figure
            assert figure["bars"][0]["width"] > 50, figure
            continue
        rules = [curve["rule"] for curve in figure["curves"]]
        assert rules[:len(RULES)] == RULES and figure["legend"] == rules, figure
        hidden = [curve["rule"] for curve in figure["curves"] if curve["length"] < 20]
        # A rule that never gets there has no saving.
        assert not hidden or figure["title"].startswith("Saving"), (figure["title"], hidden)
        assert len({curve["colour"] for curve in figure["curves"]}) == len(rules), figure


def check_page(chosen, path, dark):
    with Browser(dark) as browser:
        browser.open(path.as_uri())
        check_figures(browser.run(CURVES))
        page = browser.run(PAGE)
        assert (brightness(page["background"]) < 60) == dark, page
        assert abs(brightness(page["background"]) - brightness(page["ink"])) > 120, page
        assert page["fetched"] == 0 and not page["wide"], page
        assert not browser.errors(), browser.errors()
        if chosen.keep:
            browser.picture(path.with_suffix(".dark.png" if dark else ".png"))


def main():
    chosen = environment.arguments(__doc__)
    folder = Path(tempfile.mkdtemp(prefix="infopair-report-"))
    path = folder / "report.html"
    subprocess.run([chosen.build / "infopair", "simulate", "main", "--quiet", "--seeds", "3",
                    "--labels", "300", "--rules", ";".join(RULES), "--vary",
                    "pool=" + ",".join(map(str, POOLS)), "--html", path], check=True)
    for dark in (False, True):
        check_page(chosen, path, dark)
    print(f"{path.stat().st_size} bytes, light and dark")
    if chosen.keep:
        print(f"kept {folder}")
        return
    path.unlink()
    folder.rmdir()


if __name__ == "__main__":
    main()
