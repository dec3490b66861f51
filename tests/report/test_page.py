"""The page of `cam report`, driven in a browser: opened from disk, without the network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from camcli.report import ReportOptions, build_report
from tests.report.gallery_run import CLASSES, HOSTILE, make_images, make_run

playwright_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra dev)")
BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium (Debian: apt-get install chromium)")

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@dataclass
class Galleries:
    """The pages under test, and what a run of each has."""

    page: Path
    against: Path
    against_one: Path
    single: Path
    items: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture(scope="module")
def galleries(tmp_path_factory: pytest.TempPathFactory) -> Galleries:
    folder = tmp_path_factory.mktemp("gallery")
    images = make_images(folder / "images")
    run = make_run(images, folder / "run")
    other = make_run(images, folder / "other", layer=("features.5",))
    from camcli.cli import main

    for command in (["check", str(run)], ["diff", str(other), str(run)]):
        with pytest.raises(SystemExit):
            main([*command, "--quiet", "--fail-on", "never"])
    page = build_report(ReportOptions(str(run))).page
    against = build_report(ReportOptions(str(run), str(other), str(folder / "against.html"))).page
    single = build_report(ReportOptions(str(run), output=str(folder / "one" / "file.html"), self_contained=True)).page
    one_method = make_run(images, folder / "one_method", method=("layercam",), colormap="viridis")
    options = ReportOptions(str(run), str(one_method), str(folder / "against_one.html"))
    from tests.conftest import items

    return Galleries(page, against, build_report(options).page, single, items(run))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page whose console stays empty, and that asks nothing of the network."""
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    page.set_default_timeout(10_000)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: (problems.append(f"alert: {dialog.message}"), dialog.dismiss()))
    page.on("requestfailed", lambda request: problems.append(f"failed: {request.url}"))
    page.on(
        "request", lambda request: request.url.startswith(("file:", "data:", "blob:")) or problems.append(request.url)
    )
    yield page
    context.close()
    assert problems == []


def show(page: Any, path: Path, state: str = "") -> Any:
    page.goto(path.as_uri() + (f"#{state}" if state else ""))
    page.wait_for_selector("html[data-ready]")
    return page


def shown(page: Any) -> list[str]:
    """The images of the grid, in its order."""
    names: list[str] = page.eval_on_selector_all("#grid [data-image]", "all => all.map(one => one.dataset.image)")
    return names


def count(page: Any) -> int:
    return int(page.text_content("#count"))


def test_every_image_is_there_and_names_are_text(page: Any, galleries: Galleries) -> None:
    show(page, galleries.page)
    assert shown(page) == [item["image"] for item in galleries.items]
    assert count(page) == len(galleries.items)
    failed = page.locator('#grid [data-status="failed"]')
    assert failed.count() == 2
    for item in galleries.items:
        if item["image"] in HOSTILE:
            tile = page.locator("#grid [data-image]").nth(galleries.items.index(item))
            assert tile.get_attribute("data-image") == item["image"]
    assert page.locator("#grid b, #grid script, #grid img[onerror]").count() == 0
    assert CLASSES[1] in page.text_content("#class")
    page.wait_for_function("() => [...document.querySelectorAll('#grid img')].some(one => one.naturalWidth > 0)")


def test_filters_narrow_and_are_cleared(page: Any, galleries: Galleries) -> None:
    show(page, galleries.page)
    page.fill("input[type=search]", "CUP/ 0")
    page.wait_for_function("() => document.querySelector('#count').textContent === '1'")
    assert shown(page) == ["cup/0.png"]
    page.fill("input[type=search]", "nothing like this")
    page.wait_for_function("() => document.querySelector('#count').textContent === '0'")
    page.click("text=Clear the filters")
    assert count(page) == len(galleries.items)
    for verdict in ("right", "wrong"):
        if page.locator(f"#verdict option[value={verdict}]").count():
            page.select_option("#verdict", verdict)
            wanted = [item["image"] for item in galleries.items if item["correct"] is (verdict == "right")]
            assert shown(page) == wanted
    page.select_option("#verdict", "")
    page.select_option("#status", "failed")
    assert shown(page) == [item["image"] for item in galleries.items if item["status"] == "failed"]
    page.select_option("#status", "")
    page.select_option("#label", "cup")
    assert all(name.startswith("cup/") for name in shown(page))
    page.select_option("#label", "")
    top = galleries.items[0]["predictions"][0]["name"]
    page.select_option("#pred", top)
    assert shown(page) == [
        i["image"] for i in galleries.items if i["predictions"] and i["predictions"][0]["name"] == top
    ]


def test_sorting_by_every_key(page: Any, galleries: Galleries) -> None:
    show(page, galleries.page)
    by = {item["image"]: item for item in galleries.items}
    values: dict[str, Any] = {
        "probability": lambda item: item["predictions"][0]["probability"],
        "entropy": lambda item: item["maps"][0]["attention"]["entropy"],
        "border": lambda item: item["maps"][0]["attention"]["border"],
    }
    for key, value in values.items():
        page.select_option("#sort", key)
        order = [round(value(by[name]), 3) for name in shown(page) if by[name]["status"] == "ok"]
        assert order == sorted(order, reverse=True), key
        assert by[shown(page)[-1]]["status"] == "failed"  # without a value: last
        page.click("#dir")
        order = [round(value(by[name]), 3) for name in shown(page) if by[name]["status"] == "ok"]
        assert order == sorted(order), key
        assert by[shown(page)[-1]]["status"] == "failed"
    keys = page.eval_on_selector_all("#sort option", "all => all.map(one => one.value)")
    assert {"name", "loss", "margin", "disagreement"} <= set(keys)


def test_groups_of_confused_classes(page: Any, galleries: Galleries) -> None:
    show(page, galleries.page, "group=pair")
    pairs: dict[str, int] = {}
    for item in galleries.items:
        if item["correct"] is False:
            name = f"{item['label']['name']} taken for {item['predictions'][0]['name']}"
            pairs[name] = pairs.get(name, 0) + 1
    headings = page.locator("#grid h2 bdi").all_text_contents()
    assert headings[: len(pairs)] == sorted(pairs, key=lambda name: -pairs[name])
    assert f"{max(pairs.values())} image" in page.locator("#grid h2").first.text_content()


def test_an_open_image(page: Any, galleries: Galleries) -> None:
    show(page, galleries.page)
    page.click('[data-image="cup/0.png"]')
    dialog = page.locator("dialog[open]")
    item = next(one for one in galleries.items if one["image"] == "cup/0.png")
    text = dialog.text_content()
    assert all(one["name"] in text for one in item["predictions"])
    assert f"{item['maps'][0]['attention']['entropy']:.2f}" in text
    assert "label: cup" in text
    assert "--method gradcam,layercam" in text
    assert "image=cup%2F0.png" in page.evaluate("location.hash")
    page.wait_for_function("() => document.querySelector('.frame img').naturalWidth === 160")
    before = page.evaluate("document.querySelector('.frame canvas').toDataURL()")
    # Another method: everything else stays.
    page.locator(".mini").nth(2).click()
    assert page.evaluate("document.querySelector('.frame canvas').toDataURL()") != before
    assert "layercam" in page.evaluate("location.hash")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.querySelector('.frame canvas').toDataURL()") == before
    page.locator("#divider").fill("50")
    clip = page.evaluate("document.querySelector('.frame canvas').style.clipPath")
    assert float(clip.split()[-1].rstrip("px)")) > 100
    page.locator("#viewer-opacity").fill("10")
    assert page.evaluate("document.querySelector('.frame canvas').toDataURL()") != before
    page.keyboard.press("3")
    assert page.locator('#viewer-view [aria-pressed="true"]').text_content() == "Heatmap"
    page.keyboard.press("1")
    assert page.locator(".frame canvas").count() == 0
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")
    assert "image=" not in page.evaluate("location.hash")


def test_the_command_is_safe_in_a_shell(page: Any, galleries: Galleries) -> None:
    import shlex

    show(page, galleries.page)
    for name in HOSTILE:
        page.evaluate("name => openImage(images.find(one => one.n === name))", name)
        words = shlex.split(page.text_content(".command"))
        assert words[:3] == ["cam", "run", "--image-path"]
        assert words[3].endswith(name)
        assert Path(words[3]).is_file()
    page.keyboard.press("Escape")


def test_the_keyboard_is_enough(page: Any, galleries: Galleries) -> None:
    names = [item["image"] for item in galleries.items]
    show(page, galleries.page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    assert page.evaluate("openedImage.n") == names[1]
    page.keyboard.press("ArrowRight")
    assert page.evaluate("openedImage.n") == names[2]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("openedImage.n") == names[0]
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    assert page.evaluate("openedImage.n") == names[-1]
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")
    page.keyboard.press("/")
    page.keyboard.type("flower/1")
    page.wait_for_function("() => document.querySelector('#count').textContent === '1'")
    page.keyboard.press("Escape")
    assert count(page) == len(names)
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    assert page.is_visible("#tab-summary")


def test_a_link_holds_the_state(page: Any, galleries: Galleries) -> None:
    show(page, galleries.page)
    page.select_option("#label", "flower")
    page.select_option("#sort", "entropy")
    page.click("#dir")
    page.select_option("#map", label="layercam")
    page.keyboard.press("Escape")
    page.locator("#view button").nth(2).click()
    order, link = shown(page), page.evaluate("location.hash")[1:]
    page.goto("about:blank")
    show(page, galleries.page, link)
    assert shown(page) == order
    assert page.locator('#view [aria-pressed="true"]').text_content() == "Heatmap"
    assert page.evaluate("META.maps[state.map][0]") == "layercam"
    page.goto("about:blank")
    show(page, galleries.page, "image=flower%2F1.png&view=nonsense&map=nonsense&sort=nonsense&opacity=900")
    page.wait_for_selector("dialog[open]")
    assert page.text_content("#viewer-name") == "flower/1.png"


def test_the_summary(page: Any, galleries: Galleries) -> None:
    show(page, galleries.page, "tab=summary")
    text = page.text_content("#tab-summary")
    labelled = [item for item in galleries.items if item["correct"] is not None]
    assert f"{sum(item['correct'] for item in labelled)} of {len(labelled)} labelled images" in text
    for title in ("Where the heat lies", "Distributions", "Mean map of each explained class", "Images that stand out"):
        assert title in text
    assert "the file is empty" in text
    figures = page.locator("#tab-summary svg[role=img]").evaluate_all("all => all.map(one => one.ariaLabel)")
    assert any(label.startswith("Entropy") for label in figures)
    # The mean map that the page computes, against the one of the index.
    import numpy as np

    from camcli.map_summary import read_native

    maps = [
        np.maximum(read_native(item["maps"][0]["native"]), 0) for item in galleries.items
        if item["status"] == "ok" and item["maps"][0]["status"] == "ok"
    ]  # fmt: skip
    rescaled = [(one - one.min()) / (one.max() - one.min()) for one in maps]
    mean = np.mean([one / one.sum() for one in rescaled], axis=0)
    computed = page.evaluate("[...meanGrid(mapsAt(shown.filter(one => !isFailed(one)), 0)).mean]")
    assert np.abs(np.reshape(computed, mean.shape) - mean).max() < 1e-3


def test_checks_and_differences(page: Any, galleries: Galleries) -> None:
    show(page, galleries.page, "tab=checks")
    assert page.locator("[data-check=valid] .badge").text_content() in ("pass", "fail", "inconclusive")
    assert page.locator("[data-check=drift]").count() == 2  # of the check, and of the comparison
    assert "images compared" in page.text_content("#tab-checks")


def test_against_another_run(page: Any, galleries: Galleries) -> None:
    show(page, galleries.against)
    changes = page.evaluate("shown.map(change)")
    present = [value for value in changes if value is not None]
    assert len(present) > 3
    assert present == sorted(present, reverse=True)
    page.locator("#grid .tile").first.click()
    assert page.locator(".frame").count() == 2
    assert "rank correlation" in page.text_content("#panel")
    titles = page.locator(".stage h3").all_text_contents()
    assert [title.split(" · ", 1)[1] for title in titles] == ["gradcam at features.5", "gradcam at features.8"]
    page.keyboard.press("Escape")
    # Maps of the other run alone cannot be chosen.
    assert page.locator("#map option").all_text_contents() == ["gradcam at features.8", "layercam at features.8"]


def test_runs_that_were_drawn_in_other_colours(page: Any, galleries: Galleries) -> None:
    show(page, galleries.against_one)
    assert "--colormap viridis there, jet here" in page.text_content(".notice")
    page.evaluate("setState({ map: META.maps.findIndex(([method]) => method === 'gradcam') })")
    page.click('[data-image="cup/0.png"]')
    assert "the other run has none of gradcam" in page.text_content("#panel")
    assert page.text_content(".stage:first-child .none") == "This run has no such map."


def test_the_map_in_words(page: Any, galleries: Galleries) -> None:
    show(page, galleries.page)
    page.click('[data-image="cup/0.png"]')
    text = page.text_content("#panel")
    area, heat = page.evaluate("shownMap(openedImage).hs.map(percent)")
    assert f"{area} of the view has half the maximum or more; {heat} of the heat lies there" in text
    assert ", the most probable class" in text
    assert page.locator("#target option").all_text_contents() == ["number 1", "number 2"]
    words = page.evaluate("['predicted', 'label', 'index', 'name', 'top:3'].map(chosenWords)")
    assert words == [
        "the predicted class", "the label of the image", "given by its index", "given by its name",
        "number 3 of the most probable classes",
    ]  # fmt: skip
    for share, verdict in ((0.0135, "small hot spots, with weaker heat around"), (0.6, "spread over much of the view")):
        assert page.evaluate("share => spreadWords([share, share])", share).startswith(f"{verdict}: ")


def test_the_colours_are_those_of_the_run(page: Any, galleries: Galleries) -> None:
    import cv2
    import numpy as np

    show(page, galleries.page)
    item = next(one for one in galleries.items if one["image"] == "cup/0.png")
    drawn = page.evaluate(
        """([name, width, height]) => {
          const image = images.find(one => one.n === name), canvas = document.createElement("canvas");
          canvas.width = width; canvas.height = height;
          drawMap(canvas, image.m[0], image.v, image.wh, 2);
          return [...canvas.getContext("2d").getImageData(0, 0, width, height).data];
        }""",
        [item["image"], item["width"], item["height"]],
    )
    ours = np.reshape(drawn, (item["height"], item["width"], 4))[..., 2::-1].astype(int)
    heatmap = cv2.imread(str(galleries.page.parent / item["maps"][0]["files"]["heatmap"])).astype(int)
    assert np.abs(ours - heatmap).mean() < 4  # what JPEG and 8 bits change


def test_the_share_of_heat_is_that_of_its_level(page: Any, galleries: Galleries) -> None:
    show(page, galleries.page)
    shares = page.evaluate(
        """() => {
          COLOURS[4 * 64 + 3] = 51;
          return [0.5, 1, 2].map((opacity) => {
            const canvas = document.createElement("canvas");
            canvas.width = canvas.height = 1;
            drawMap(canvas, { g: [1, 1], h: btoa("@") }, null, [1, 1], opacity);  // level 64
            return canvas.getContext("2d").getImageData(0, 0, 1, 1).data[3];
          });
        }"""
    )
    assert shares == [26, 51, 255], "the colours alone have no picture below them"


def test_narrow_and_dark(page: Any, galleries: Galleries) -> None:
    page.set_viewport_size(NARROW)
    page.emulate_media(color_scheme="dark")
    show(page, galleries.page)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    assert not page.is_visible("#label")
    page.click("#more")
    assert page.is_visible("#label")
    page.locator("#grid .tile").first.click()
    assert page.evaluate("document.querySelector('.viewer').scrollWidth") <= NARROW["width"]
    page.click("#close")
    for tab in ("summary", "checks", "run"):
        page.click(f"[data-tab={tab}]")
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], tab


@pytest.mark.parametrize("width", [800, 1000, 1300, 1440])
def test_no_control_lies_on_another(page: Any, galleries: Galleries, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for path in (galleries.page, galleries.against):
        show(page, path)
        if page.is_visible("#more"):
            page.click("#more")
        page.evaluate("""() => { for (const select of document.querySelectorAll(".arrange select"))
          select.append(new Option("pathcam at blocks.4+blocks.5+blocks.6 and more".repeat(3))); }""")
        boxes = page.evaluate(
            """() => [...document.querySelectorAll(":is(.filters, .arrange) :is(input, select, button)")]
              .map(one => [one.id || one.textContent, one.getBoundingClientRect()]).filter(([, box]) => box.width)
              .map(([name, box]) => [name, box.left, box.top, box.right, box.bottom])"""
        )
        assert len(boxes) > 12
        assert max(right for _, _, _, right, _ in boxes) <= width
        for place, (one, *a) in enumerate(boxes):
            for other, *b in boxes[:place]:
                inside = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
                # The buttons of "Show" share their borders.
                assert min(inside) <= 1, f"{one} lies on {other}"
        lines = {round(top) for name, _, top, _, _ in boxes if name in ("opacity", "size")}
        assert len(lines) == 1


def test_the_page_begins_with_a_map_that_both_runs_have(page: Any, galleries: Galleries) -> None:
    show(page, galleries.against_one)
    assert page.evaluate("META.maps[state.map][0]") == "layercam"
    assert page.evaluate("document.getElementById('sort').value") == "change"
    assert page.locator("#map option:checked").text_content() == "layercam"


def test_one_file_stands_alone(page: Any, galleries: Galleries, tmp_path: Path) -> None:
    alone = tmp_path / "alone.html"
    shutil.copy(galleries.single, alone)
    assert not galleries.single.with_suffix("").exists()
    show(page, alone)
    assert count(page) == len(galleries.items)
    page.click('[data-image="cup/0.png"]')
    page.wait_for_function("() => document.querySelector('.frame img').naturalWidth > 0")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_violation_of_accessibility(page: Any, galleries: Galleries, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python (extra dev)")
    page.emulate_media(color_scheme=scheme)
    show(page, galleries.against)
    page.evaluate("setState({sort: 'entropy', dir: 'reverse'})")
    states = ["tab=images&group=pair", "tab=summary", "image=cup%2F0.png"]
    states += ["tab=checks", "tab=run", "image=empty.jpg"] if scheme == "light" else []
    # What is no colour is the same in both schemes.
    colours = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
    options = {"resultTypes": ["violations"]} | ({} if scheme == "light" else {"runOnly": colours})
    found = []
    for state in states:
        page.evaluate("state => { location.hash = state; }", state)
        page.wait_for_timeout(50)
        violations = axe.Axe().run(page, options=options).response["violations"]
        found += [
            (state, one["id"], one["nodes"][0]["html"][:200]) for one in violations
            if one["impact"] in ("serious", "critical")
        ]  # fmt: skip
    assert found == []
