"""The report in headless Chromium: it loads without network or errors, and does what it says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_runs import done
from explore_report_pages import HOSTILE, hostile_study
from explore_runs import _here, write_study

from emulator.explore import executors
from emulator.explore.report import plotly
from emulator.explore.report.files import DATA, write_page

pytestmark = pytest.mark.browser

METRICS = ["tpot", "joules_per_output_token", "ttft", "usd_per_million_output_tokens",
           "decode_hbm_utilisation", "usd_per_chip"]  # fmt: skip
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
CHARTS = ("pareto", "roofline", "stacks", "parallel", "tornado", "chips")
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium of this machine."""
    sync = pytest.importorskip("playwright.sync_api", reason="needs Playwright: make test-report")
    pytest.importorskip("plotly", reason="needs the extra `report`: make test-report")
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip(f"needs one of {', '.join(CHROMIUM)} on this machine")
    with sync.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two chips, with points that violate a constraint and others that cannot be."""
    folder = tmp_path_factory.mktemp("report")
    path = write_study(
        folder, chip=["t1-mini", "t1-mini-balanced"], metrics=METRICS, objectives=METRICS[:2],
        constraints=["tpot < 20 us"],
        axes={"hbm.bytes_per_second": ["50 GB/s", "100 GB/s"], "batch": [1, 3],
              "rows": [16, 1 << 20]}, fixed={"prompt": 40, "context": 100},
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executors, "_local", _here)
        done("explore", path, "-o", folder / "r", "--quiet")
    return folder / "r"


@pytest.fixture
def load(browser: Any) -> Iterator[Open]:
    """Opens a report; whatever it asks of a network, logs or alerts fails the test."""
    troubles: list[str] = []
    contexts = []

    def opened(folder: Path, **options: Any) -> Any:
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.on("console", lambda message: troubles.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (troubles.append("alert"), dialog.dismiss()))
        page.on("request", lambda request: troubles.append(request.url)
                if request.url.split(":")[0] not in ("file", "data", "blob") else None)  # fmt: skip
        page.goto((folder / "report.html").as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def expect(locator: Any) -> Any:
    """Playwright's expectations, which wait."""
    return pytest.importorskip("playwright.sync_api").expect(locator)


def choose(page: Any, part: str, label: str, value: str) -> None:
    """Choose a value of a part's control."""
    select = page.locator(f"#{part} .controls label").filter(has_text=label).locator("select")
    select.select_option(value)


def column(page: Any, part: str, index: int) -> list[str]:
    """The texts of a column of a part's table."""
    texts: list[str] = page.locator(f"#{part} tbody tr").evaluate_all(
        f"rows => rows.map(row => row.children[{index}].textContent)"
    )
    return texts


# ---- it is there


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1300])
def test_it_loads_and_draws(load: Open, results: Path, scheme: str, width: int) -> None:
    page = load(results, color_scheme=scheme, viewport={"width": width, "height": 900})
    for part in CHARTS:
        assert page.locator(f"#{part} .chart svg.main-svg").count() > 0, part
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#no-charts").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast(load: Open, results: Path, scheme: str) -> None:
    """WCAG 2.2's 4.5 to 1 for every colour of texts on every ground."""
    page = load(results, color_scheme=scheme)
    colours = page.evaluate(
        "Object.fromEntries(['text', 'muted', 'accent', 'back', 'panel', 'mark'].map((name) => "
        "[name, getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim()]))"
    )
    for text in ("text", "muted", "accent"):
        for ground in ("back", "panel"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert contrast(colours["text"], colours["mark"]) >= 4.5


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two colours, `#rrggbb`."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """WCAG's relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# ---- charts


def test_hover_shows_a_point_and_click_opens_it(load: Open, results: Path) -> None:
    page = load(results)
    page.locator("#pareto .chart").scroll_into_view_if_needed()
    mark = page.locator("#pareto .scatterlayer .trace .points path").last
    box = mark.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#pareto .hoverlayer .hovertext")
    seen = page.locator("#pareto .hoverlayer").text_content()
    assert "hbm.bytes_per_second: " in seen and "usd_per_chip: " in seen
    page.mouse.down()
    page.mouse.up()
    page.wait_for_selector("dialog[open]")
    assert "decode: time by operation" in page.locator("dialog").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


def test_every_choice_draws(load: Open, results: Path) -> None:
    page = load(results)
    for part in CHARTS:
        for select in page.locator(f"#{part} .controls select").all():
            for value in select.locator("option").all():
                select.select_option(value.get_attribute("value"))
        for box in page.locator(f"#{part} .controls input[type=checkbox]").all():
            box.click()
        assert page.locator(f"#{part} .chart svg.main-svg").count() > 0, part
        assert page.locator(f"#{part} figcaption").inner_text()


def test_the_front_is_the_one_of_the_metrics_chosen(load: Open, results: Path) -> None:
    page, data = load(results), json.loads((results / DATA).read_bytes())
    page.locator("#pareto summary").click()
    choose(page, "pareto", "Across", "tpot")
    choose(page, "pareto", "Up", "joules_per_output_token")
    assert page.locator("#pareto tbody tr").count() == sum(data["points"]["front"])
    choose(page, "pareto", "Up", "tpot")
    assert page.locator("#pareto tbody tr").count() == 1


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_bars_sum_to_their_metrics(load: Open, results: Path, phase: str) -> None:
    page, data = load(results), json.loads((results / DATA).read_bytes())
    page.locator("#stacks summary").click()
    choose(page, "stacks", "Phase", phase)
    choose(page, "stacks", "Points", "tpot")
    wholes = {"time": {"prefill": "ttft", "decode": "tpot"}[phase]}
    if phase == "decode":
        wholes |= {"energy": "joules_per_output_token", "cost": "usd_per_million_output_tokens"}
    for what in page.locator("#stacks .controls label").nth(1).locator("option").all():
        name = str(what.get_attribute("value"))
        metric = wholes.get(name.split()[0])
        if metric is None:
            continue
        choose(page, "stacks", "What", name)
        page.locator("#stacks").get_by_text("Copy TSV").click()
        page.locator("#stacks").get_by_text("as TSV").and_(page.locator(".status")).wait_for()
        lines = [t.split("\t") for t in page.evaluate("navigator.clipboard.readText()").split("\n")]
        at = next(i for i, head in enumerate(lines[0]) if head.startswith("total"))
        found = sorted(float(line[at]) for line in lines[1:] if len(line) > at)
        values = zip(data["points"]["metrics"][metric], data["points"]["status"], strict=True)
        assert found == pytest.approx(sorted(v for v, s in values if s == "ok"), rel=1e-4), name


def test_dragging_along_an_axis_keeps_the_lines_through_there(load: Open, results: Path) -> None:
    page = load(results, viewport={"width": 1300, "height": 900})
    chart = page.locator("#parallel .chart")
    chart.scroll_into_view_if_needed()
    caption = page.locator("#parallel figcaption")
    before = caption.inner_text()
    box = page.locator("#parallel .nsewdrag").bounding_box()
    left = box["x"] + box["width"] * 0.005
    page.mouse.move(left, box["y"] + box["height"] * 0.6)
    page.mouse.down()
    page.mouse.move(left + 80, box["y"] + box["height"] * 0.99, steps=8)
    page.mouse.up()
    expect(caption).not_to_have_text(before)
    kept, total = caption.inner_text().split(" points")[0].split(" of ")
    assert 0 < int(kept) < int(total)
    page.get_by_text("Clear brushes").click()
    assert caption.inner_text() == before


# ---- tables


def test_heads_sort_by_mouse_and_by_key(load: Open, results: Path) -> None:
    page = load(results)
    heads = page.locator("#points thead th")
    names = heads.all_inner_texts()
    at = next(i for i, name in enumerate(names) if name.startswith("tpot"))
    heads.nth(at).locator("button").click()
    assert heads.nth(at).get_attribute("aria-sort") == "ascending"
    values = [float(text) for text in column(page, "points", at) if text != "–"]
    assert values == sorted(values) and len(values) == 8
    heads.nth(at).locator("button").focus()
    page.keyboard.press("Enter")
    assert heads.nth(at).get_attribute("aria-sort") == "descending"
    assert [float(t) for t in column(page, "points", at) if t != "–"] == values[::-1]
    heads.nth(0).locator("button").press("Space")
    assert page.locator("#points th[aria-sort]").count() == 1


def test_tables_are_copied_whole(load: Open, results: Path) -> None:
    page, data = load(results), json.loads((results / DATA).read_bytes())
    page.locator("#points").get_by_text("Copy TSV").click()
    page.get_by_text("Copied 16 rows as TSV").wait_for()
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    heads = lines[0].split("\t")
    at = heads.index("tpot (s)")
    found = {line.split("\t")[0]: line.split("\t")[at] for line in lines[1:]}
    wanted = zip(data["points"]["key"], data["points"]["metrics"]["tpot"], strict=True)
    for key, value in wanted:
        assert found[key] == "" if value is None else float(found[key]) == value
    page.locator("#points").get_by_text("Copy CSV").click()
    page.get_by_text("Copied 16 rows as CSV").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").startswith("point,")


def test_find_and_filter(load: Open, results: Path) -> None:
    page = load(results)
    page.locator("#points input[type=search]").fill("1048576")
    assert page.locator("#points .status").inner_text() == "8 of 16 rows"
    page.locator("#points input[type=search]").fill("")
    page.locator("#filter summary").click()
    choose(page, "filter", "batch", "0")
    assert page.locator("#filter .count").inner_text() == "8 of 16 points: batch 1"
    assert page.locator("#points tbody tr").count() == 8
    page.get_by_text("Show all").click()
    assert page.locator("#points tbody tr").count() == 16


def test_a_row_opens_by_key_and_the_focus_returns(load: Open, results: Path) -> None:
    page = load(results)
    row = page.locator("#points tbody tr").filter(has_text="ok").first.locator("button")
    row.focus()
    page.keyboard.press("Enter")
    text = page.locator("dialog[open]").inner_text()
    for heading in ("Inputs", "Metrics", "units' cycles by cause", "traffic", "lower bounds",
                    "decode energy", "price", "area"):  # fmt: skip
        assert heading in text
    page.keyboard.press("Escape")
    assert row.evaluate("each => each === document.activeElement")


def test_points_without_a_breakdown_say_why(load: Open, results: Path) -> None:
    page = load(results)
    page.locator("#points tbody tr").filter(has_text="invalid").first.locator("button").click()
    assert "was not timed" in page.locator("dialog").inner_text()


# ---- by key, on paper, without the library, with hostile texts, with many points


def test_everything_is_reached_by_tab_and_shows_it(load: Open, results: Path) -> None:
    page = load(results)
    seen: set[str] = set()
    for _ in range(300):
        page.keyboard.press("Tab")
        place = page.evaluate(
            "(() => { const at = document.activeElement; const style = getComputedStyle(at);"
            " return at === document.body ? '' : (at.closest('section, header') || {}).id + ' ' +"
            " at.tagName + (style.outlineStyle === 'none' ? ' unseen' : ''); })()"
        )
        if not place and seen:
            break
        seen.add(place)
    assert not [place for place in seen if place.endswith("unseen")]
    for part in (*CHARTS[:-1], "chips"):
        assert any(place.startswith(f"{part} S") for place in seen), part
    assert "points BUTTON" in seen and "points INPUT" in seen and "filter SUMMARY" in seen


def test_on_paper(load: Open, results: Path) -> None:
    page = load(results, color_scheme="dark")
    page.emulate_media(media="print")
    expect(page.locator("#pareto .main-svg").first).to_have_attribute("width", "690")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    fill = page.locator("#pareto .xtick text").first.evaluate("each => getComputedStyle(each).fill")
    assert fill == "rgb(0, 0, 0)"
    assert page.locator("#pareto .controls").is_hidden()
    assert page.pdf().startswith(b"%PDF")
    page.locator("#points tbody button").first.click()
    assert page.locator("main").is_hidden() and page.locator("dialog .body").is_visible()
    assert page.pdf().startswith(b"%PDF")


def test_without_the_library_there_are_tables(
    load: Open, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plotly, "plotly_source", lambda: None)
    write_page(tmp_path, json.loads((results / DATA).read_bytes()))
    page = load(tmp_path)
    assert page.get_by_text("Charts need the extra").is_visible()
    assert page.locator(".chart").first.is_hidden()
    for part in CHARTS:
        assert page.locator(f"#{part} tbody tr").count() > 0, part
    page.locator("#points tbody button").first.click()
    assert page.locator("dialog[open]").count() == 1


def test_hostile_texts_do_nothing(load: Open, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executors, "_local", _here)
        done("explore", hostile_study(tmp_path), "-o", tmp_path / "r", "--quiet")
    page = load(tmp_path / "r")
    assert page.title().startswith(HOSTILE.strip()[:20])
    assert page.locator("h1").inner_text() == HOSTILE.strip()
    page.locator("#points tbody button").first.click()
    assert "<img src=x" in page.locator("dialog").inner_text()
    assert page.locator("img, script[src]").count() == 0
    assert page.locator("script:not([id])").count() == 2  # ours and the library's


def test_no_good_point(load: Open, tmp_path: Path) -> None:
    path = write_study(tmp_path, fixed={"rows": 1 << 20, "prompt": 40, "context": 100})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executors, "_local", _here)
        done("explore", path, "-o", tmp_path / "r", "--quiet")
    page = load(tmp_path / "r")
    assert page.locator("#pareto figcaption").inner_text() == "No point has metrics."
    assert page.locator("#pareto details").is_hidden()
    assert page.locator("#points tbody tr").count() == 4


def test_thousands_of_points(load: Open, results: Path, tmp_path: Path) -> None:
    data = many(json.loads((results / DATA).read_bytes()), 6000)
    write_page(tmp_path, data)
    page = load(tmp_path)
    assert "one in 2 of 6000 points" in page.locator("#pareto figcaption").inner_text()
    assert page.locator("#points .status").inner_text() == "6000 rows"
    page.locator("#points thead button").filter(has_text="tpot").click()
    page.locator("#points").get_by_text("Next", exact=True).click()
    assert "page 2 of 60" in page.locator("#points").inner_text()


def many(data: dict[str, Any], count: int) -> dict[str, Any]:
    """The data with its first good point so many times, each with another batch and tpot."""
    points = data["points"]
    best = points["status"].index("ok")
    for name, values in points.items():
        if isinstance(values, list):
            points[name] = [values[best]] * count
    for group in ("inputs", "metrics"):
        points[group] = {name: [values[best]] * count for name, values in points[group].items()}
    points["key"] = [f"{i:08x}" for i in range(count)]
    points["inputs"]["batch"] = [1 + i for i in range(count)]
    points["front"] = [i == 0 for i in range(count)]
    points["metrics"]["tpot"] = [1e-5 * (1 + (i * 7919 % count) / count) for i in range(count)]
    data["details"] = [data["details"][best]] * 50 + [None] * (count - 50)
    data["axes"] = data["axes"] | {"batch": points["inputs"]["batch"]}
    return data | {"counts": {"ok": count}, "reasons": []}
