"""The page as a reader has it: opened from the disk in a browser, without a network."""

import json

import pytest

from scoring import page

HOSTILE = '<img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script>%{x}'
NAMES = ["alpha", "beta", "gamma"]
PLOTS = ("profile-plot", "times-plot", "curve-plot")


RESET = """
document.getElementById('filters-reset').click();
for (const one of document.querySelectorAll('#profiles [aria-pressed=false]')) one.click();
for (const one of document.querySelectorAll('select')) {
  one.selectedIndex = 0;
  one.dispatchEvent(new Event('change'));
}
"""


@pytest.fixture(scope="module")
def opened(tab, tmp_path_factory):
    """A function that opens the page of a board in a new size and scheme of colours."""

    def open_page(board, *, width=1280, height=900, scheme="light", change=lambda document: None):
        document = board.document()
        change(document)
        path = tmp_path_factory.mktemp("board") / "leaderboard.html"
        path.write_text(page.render(document, board.curves), encoding="utf-8")
        tab.show_as(width, height, scheme)
        tab.open(path)
        assert tab.complaints() == []
        assert tab.requests() == [path.as_uri()]
        return tab

    return open_page


@pytest.fixture(scope="module")
def small(make_board):
    return make_board(NAMES, ["quartz", "flint", "quartz_variant"])


@pytest.fixture(scope="module")
def page_of_small(opened, small):
    return opened(small)


@pytest.fixture
def tab_of_small(page_of_small):
    """The page of the small board as it was when it was opened, and no complaints in the end."""
    page_of_small.run(RESET)
    yield page_of_small
    assert page_of_small.complaints() == []


def shown(tab, plot: str) -> list[int]:
    """The submissions that a plot shows, by their place in the ranking."""
    return sorted(set(tab.run(f"document.getElementById('{plot}').data.map(one => one.meta)")))


def press(tab, selector: str, count: int = 1) -> None:
    """Real presses of the mouse."""
    box = tab.run(
        f"{{ const one = document.querySelector({json.dumps(selector)});"
        " one.scrollIntoView({block: 'center'}); const box = one.getBoundingClientRect();"
        " [box.x + box.width / 2, box.y + box.height / 2] }"
    )
    where = {"x": box[0], "y": box[1], "button": "left"}
    for number in range(1, count + 1):
        for kind in ("mousePressed", "mouseReleased"):
            tab.send("Input.dispatchMouseEvent", type=kind, clickCount=number, **where)


def test_plots_show_every_submission(tab_of_small):
    tab = tab_of_small
    for plot in PLOTS:
        assert shown(tab, plot) == [0, 1, 2]
    assert len(tab.visible("#profile-plot .scatterlayer .trace")) == 3
    assert tab.run("document.getElementById('curve-plot').layout.shapes[0].y0") == 0.7


def test_legend_hides_shows_and_isolates(tab_of_small):
    tab = tab_of_small
    press(tab, "#profiles [data-legend='1']")
    assert shown(tab, "profile-plot") == shown(tab, "curve-plot") == [0, 2]
    assert tab.run("document.querySelector(\"[data-legend='1']\").ariaPressed") == "false"
    press(tab, "#profiles [data-legend='1']")
    assert shown(tab, "profile-plot") == [0, 1, 2]
    press(tab, "#profiles [data-legend='2']", count=2)
    assert shown(tab, "profile-plot") == [2]
    press(tab, "#profiles [data-legend='2']", count=2)
    assert shown(tab, "profile-plot") == [0, 1, 2]


def test_hovering_names_the_submission(tab_of_small):
    tab = tab_of_small
    point = tab.run(
        "{ document.getElementById('profiles').scrollIntoView();"
        " const point = document.querySelector('#profile-plot .trace .points path');"
        " const box = point.getBoundingClientRect();"
        " [box.x + box.width / 2, box.y + box.height / 2] }"
    )
    tab.send("Input.dispatchMouseEvent", type="mouseMoved", x=point[0], y=point[1])
    text = tab.run(
        "new Promise(done => { const wait = () => {"
        " const text = document.querySelector('#profile-plot .hovertext')?.textContent;"
        " if (text) done(text); else setTimeout(wait, 20); }; wait(); })"
    )
    assert any(name in text for name in NAMES)
    assert "of the workloads" in text


def test_filters_act_on_every_part(tab_of_small):
    tab = tab_of_small
    order = tab.visible("#ranking tbody th")
    first = order.index("beta")
    press(tab, "[data-group=s] summary")
    assert tab.visible("[data-group=s] label") == order
    press(tab, f"[data-group=s] label:nth-of-type({first + 1})")
    left = [name for name in order if name != "beta"]
    for part in ("#ranking", "#times", "#trials"):
        assert tab.visible(f"{part} tbody th") == left
    assert set(tab.visible("#trial-table td:first-child")) == set(left)
    assert tab.visible("#profiles .legend button") == left
    for plot in PLOTS:
        assert first not in shown(tab, plot)
    assert "Submissions: 2 of 3" in tab.visible("#filters summary")
    tab.click("#filters-reset")
    assert tab.visible("#ranking tbody th") == order


def test_filter_by_workload(tab_of_small, small):
    tab = tab_of_small
    tab.click("[data-group=w] input")
    assert [text.split()[0] for text in tab.visible("#times-table thead th")[1:]] == [
        "flint",
        "quartz_variant",
    ]
    assert tab.run("document.getElementById('curve-workload').value") == "1"
    credits = {
        one["submission"]: one["credit"] for one in small.results if one["workload"] == "flint"
    }
    scores = tab.visible("#ranking td.shown-score")
    names = tab.visible("#ranking tbody th")
    assert scores == [f"{credits[name]:.4f}" for name in names]
    ends = tab.run("document.getElementById('profile-plot').data.map(one => one.y.at(-1))")
    assert set(ends) <= {0, 1}


def test_filter_by_framework(tab_of_small):
    tab = tab_of_small
    assert len(tab.visible("#trials code")) == 2 + len(tab.visible("#trial-table tbody tr"))
    tab.click("[data-group=f] input")
    assert tab.visible("#ranking tbody th") == ["beta"]
    assert tab.visible("#trials td:first-child code") == ["notes.txt"]
    assert {text.split()[-1] for text in tab.visible("#trial-table td:nth-child(2)")} == {"pytorch"}
    tab.click("[data-group=f] button:nth-of-type(2)")
    assert tab.visible("#ranking tbody th") == []


def test_switches(tab_of_small):
    tab = tab_of_small
    title = "document.getElementById('{}').layout.{}axis.title.text"
    tab.choose("#curve-axis", "1")
    assert tab.run(title.format("curve-plot", "x")) == "step"
    lines = "document.getElementById('curve-plot').data[0].x.filter(one => one === null).length"
    assert tab.run(lines) == 6
    tab.choose("#curve-trials", "counts")
    assert tab.run(lines) == 3
    tab.choose("#curve-workload", "1")
    tab.choose("#curve-scale", "log")
    assert tab.run(title.format("curve-plot", "y")) == "validation loss"
    tab.choose("#times-axis", "time")
    assert tab.run(title.format("times-plot", "x")) == "submission time, s"
    tab.choose("#times-cells", "steps")
    assert any("first step 4.20 s" in text for text in tab.visible("#times-table td"))
    tab.choose("#trial-status", "submission error")
    reasons = tab.visible("#trial-table td:nth-child(4)")
    assert len(reasons) == 9
    assert all("The loss is not finite at step 2,000." in reason for reason in reasons)


def test_nothing_from_the_logs_runs(opened, make_board):
    board = make_board([HOSTILE, "beta"], [HOSTILE])

    def change(document):
        for one in document["trials"]:
            one["message"] = HOSTILE

    tab = opened(board, change=change)
    assert tab.run("typeof window.hacked") == "undefined"
    assert tab.run("document.images.length") == 0
    for part in ("#ranking tbody th", "#profiles .legend button", "#trial-table td:first-child"):
        assert HOSTILE in tab.visible(part)
    assert tab.run("document.querySelector('#times-plot .annotation-text').textContent") == HOSTILE


def test_twenty_submissions_look_different_and_fit_a_phone(opened, make_board):
    board = make_board([f"submission_{n}_with_a_name" for n in range(20)], ["quartz", "flint"])
    tab = opened(board, width=390, height=844, scheme="dark")
    looks = tab.run("JSON.stringify([...Array(20).keys()].map(s => look(s, 'dark')))")
    looks = json.loads(looks)
    assert len({one["marker"] for one in looks}) == 20
    assert len({(one["colour"], one["dash"]) for one in looks}) == 20
    assert tab.run("document.documentElement.scrollWidth") == 390
    assert tab.run("document.getElementById('profile-plot').layout.font.color") == "#e6e8eb"
    tab.run(
        "void (window.changed = new Promise(done => matchMedia('(prefers-color-scheme: dark)')"
        ".addEventListener('change', () => setTimeout(done))))"
    )
    tab.show_as(390, 844, "light")
    tab.run("window.changed")
    assert tab.run("document.getElementById('profile-plot').layout.font.color") == "#1b1e23"


def test_print_is_light_and_has_the_plots(opened, small):
    tab = opened(small, scheme="dark")
    colours = (
        "{ window.printed = null; addEventListener('beforeprint', () => { window.printed ="
        " document.getElementById('profile-plot').layout.font.color; }); }"
    )
    tab.run(colours)
    assert tab.pdf().startswith(b"%PDF")
    assert tab.run("window.printed") == "#1b1e23"
    assert tab.run("document.getElementById('profile-plot').layout.font.color") == "#e6e8eb"
    assert not tab.run("document.querySelector('#stability details').open")
    assert tab.complaints() == []
