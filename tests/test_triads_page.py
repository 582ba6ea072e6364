"""The page of triads in headless Chromium: whole sessions by keyboard, what is saved, reloads, looks."""

import pytest
import torch
from PIL import Image

from browser import needed
from piloted import Pilot
from sightline.errors import InputError
from sightline.studies import people
from sightline.studies.people import Look, Stimuli, Triad

NAMES = ("a.png", 'say "cheese", please.png', "c.png", "d <b>.png", "e.png", "f.png")
READY = "!document.querySelector('#trial').hidden && !document.querySelector('.stage').classList.contains('blank')"
COLOURS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1))


def _images():
    flat = torch.tensor(COLOURS, dtype=torch.float32)[:, :, None, None].expand(-1, -1, 32, 24)
    return Stimuli(NAMES, pixels=flat)


def _triads(count=8):
    asked = people.random_triads(NAMES, count, seed=1)
    sourced = [Triad(**{**vars(t), "source_1": "one", "source_2": "two"}) for t in asked]
    return people.with_extras(sourced, NAMES, catch=2, practice=2, seed=3)


def _page(tmp_path, triads=None, **look):
    file = tmp_path / "page.html"
    name = people.triads_page(_images(), triads or _triads(), file, look=Look(**{"gap": 0, **look}))
    return file, name


def _colour(page, image):
    """The name of the image that is seen in a place, told by its colour."""
    script = f"""(async () => {{
      const image = document.querySelector('{image}'); await image.decode();
      const canvas = document.createElement('canvas'); canvas.width = canvas.height = 1;
      const context = canvas.getContext('2d'); context.drawImage(image, 0, 0, 1, 1);
      return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)].map((v) => Math.round(v / 255));
    }})()"""
    return NAMES[COLOURS.index(tuple(page.run(script)))]


def _next(page, number, what="Question"):
    page.until(f"{READY} && document.querySelector('#count').textContent.startsWith('{what} {number} of')")
    page.run("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")


def _answered(page, key):
    """What is seen on the left and on the right, and which of them a key chooses."""
    seen = _colour(page, "#target"), _colour(page, "#left img"), _colour(page, "#right img")
    page.press(key)
    return seen[0], seen[1], seen[2], seen[1] if key == "f" else seen[2]


def _saved(page, folder, button="#save"):
    folder.mkdir(exist_ok=True)
    before = set(folder.glob("*.csv"))
    page.downloads(folder)
    page.click(button)
    page.until("[...document.querySelectorAll('[role=status]')].some((one) => one.textContent.startsWith('Saved'))")
    for _ in range(200):
        new = [f for f in set(folder.glob("*.csv")) - before if f.stat().st_size]
        if new:
            return new[0]
        page.run("new Promise((go) => setTimeout(go, 25))")
    raise AssertionError("nothing was saved")


@needed
def test_a_session_by_keyboard_is_what_the_table_says(tmp_path):
    triads = _triads()
    file, experiment = _page(tmp_path, triads)
    with Pilot(tmp_path) as page:
        page.open(f"{file.as_uri()}?participant=Ann-1")
        assert page.run("document.querySelector('#participant').value") == "Ann-1"
        page.press("Enter")
        given = []
        for number in (1, 2):
            _next(page, number, "Practice")
            given.append(_answered(page, "f"))
        page.until("!document.querySelector('#between').hidden")
        page.press("Enter")
        for number in range(1, 11):
            _next(page, number)
            if number == 6:  # a reload goes on with the same question, sides and order
                before = _colour(page, "#target"), _colour(page, "#left img")
                page.reload()
                assert "5 of 10" in page.run("document.querySelector('#resume-text').textContent")
                part = people.read_triads(_saved(page, tmp_path / "part", "#save-part"))
                assert len(part) == 7
                page.click("#go-on")
                _next(page, 6)
                assert (_colour(page, "#target"), _colour(page, "#left img")) == before
            page.press("f", repeat=True)  # a key that is held down, or means something else, answers nothing
            page.press("j", modifiers=2)
            page.press("x")
            given.append(_answered(page, "fjjfj"[number % 5]))
        page.until("!document.querySelector('#end').hidden")
        text = page.run("document.querySelector('#text').value")
        saved = _saved(page, tmp_path / "down")
        assert page.console == []
        assert (
            page.run("performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:')).length") == 0
        )
    assert saved.read_text("utf-8") == text
    table = people.read_triads(saved)
    assert table["participant"].unique().to_list() == ["Ann-1"]
    assert experiment in saved.name
    assert sorted(table["trial"]) == sorted(t.trial for t in triads)
    assert (table["rt_ms"] > 0).all()
    by_name = {t.trial: t for t in triads}
    for row, (target, left, right, chosen) in zip(table.iter_rows(named=True), given, strict=True):
        asked = by_name[row["trial"]]
        assert (row["target"], row["option_1"], row["option_2"]) == asked.names
        assert (row["kind"], row["expected"]) == (asked.kind, asked.expected)
        assert (row["source_1"] or "", row["source_2"] or "") == (asked.source_1, asked.source_2)
        assert target == row["target"]
        assert row["side"] == ("left" if left == row["option_1"] else "right")
        assert {left, right} == {row["option_1"], row["option_2"]}
        assert chosen == row[f"option_{row['choice']}"]
    assert list(table["kind"][:2]) == ["practice", "practice"]
    for kind, half in (("practice", 1), ("trial", 4), ("catch", 1)):
        sides = table.filter(kind=kind)["side"].to_list()
        assert sides.count("left") == sides.count("right") == half


@needed
def test_order_and_sides_are_drawn_for_each_participant_and_balanced(tmp_path):
    file, _ = _page(tmp_path, people.numbered(people.random_triads(NAMES, 9, seed=1)))
    orders, left = [], []
    with Pilot(tmp_path) as page:
        page.open(file.as_uri())
        page.accept()
        for _ in range(12):
            page.run("document.querySelector('#start button').click()")
            state = page.run("JSON.parse(Object.values(localStorage)[0])")
            orders.append(tuple(state["order"]))
            left.append(state["left"])
            page.until(READY)
            page.reload()
            page.accept()
            page.run("document.querySelector('#afresh').click()")
    assert all(sorted(order) == list(range(9)) for order in orders)
    assert len(set(orders)) == 12
    assert all(sum(one) in (4, 5) for one in left)
    by_trial = [sum(side[order.index(k)] for order, side in zip(orders, left, strict=True)) for k in range(9)]
    assert all(0 < count < 12 for count in by_trial)  # 12 draws of 1/2 on one side: p = 0.004 for any of 9


@needed
def test_pressing_pictures_a_second_participant_and_wrong_names(tmp_path):
    file, _ = _page(tmp_path, [Triad(target=NAMES[0], option_1=NAMES[1], option_2=NAMES[2])], gap=80)
    with Pilot(tmp_path, width=400, height=780) as page:
        page.open(file.as_uri())
        page.accept()
        page.run("document.querySelector('#participant').value = '=HYPERLINK(1)'")
        page.click("#start button")
        assert not page.run("document.querySelector('#wrong').hidden")
        page.run("document.querySelector('#participant').value = 'b'")
        page.click("#start button")
        page.press("f")  # before the pictures are there, a key answers nothing
        assert page.run("JSON.parse(Object.values(localStorage)[0]).answers.length") == 0
        _next(page, 1)
        right = _colour(page, "#right img")
        page.click("#right")
        page.until("!document.querySelector('#end').hidden")
        table = people.read_triads(_saved(page, tmp_path / "down"))
        assert table["rt_ms"][0] > 0
        assert table.row(0, named=True)[f"option_{table['choice'][0]}"] == right
        page.reload()  # what was finished stays until it is given up
        assert not page.run("document.querySelector('#end').hidden")
        page.accept()
        page.click("#next")
        assert not page.run("document.querySelector('#welcome').hidden")
        assert page.run("localStorage.length") == 0


@needed
def test_without_a_memory_the_page_says_so_and_goes_on(tmp_path):
    file, _ = _page(tmp_path, [Triad(target=NAMES[0], option_1=NAMES[1], option_2=NAMES[2])])
    page_text = file.read_text("utf-8")
    deny = "<script>Object.defineProperty(window, 'localStorage', {get() { throw new Error('denied'); }});</script>"
    file.write_text(page_text.replace("<head>", f"<head>{deny}", 1), "utf-8")
    with Pilot(tmp_path) as page:
        page.open(file.as_uri())
        page.press("Enter")
        _next(page, 1)
        assert not page.run("document.querySelector('#volatile').hidden")
        page.press("j")
        page.until("!document.querySelector('#end').hidden")
        assert page.run("document.querySelector('#text').value").count("\n") == 2


@needed
@pytest.mark.parametrize(("width", "dark"), [(400, True), (1400, False)])
def test_a_question_fits_the_screen_and_can_be_read_by_machines(tmp_path, width, dark):
    file, _ = _page(tmp_path, size=150, round=True)
    with Pilot(tmp_path, width=width, height=780, dark=dark) as page:
        page.open(file.as_uri())
        page.press("Enter")
        _next(page, 1, "Practice")
        page.picture(tmp_path / "shot.png")
        assert page.run("document.documentElement.scrollWidth") == width
        assert page.run("document.querySelector('.progress').getBoundingClientRect().bottom") < 780
        nodes = page.call("Accessibility.getFullAXTree")["nodes"]
        told = {(n["role"]["value"], n["name"]["value"]) for n in nodes if "name" in n and not n["ignored"]}
        assert any(role == "button" and name.startswith("Left picture") for role, name in told)
        assert any(role == "image" and name == "The picture above" for role, name in told)
        assert ("progressbar", "Practice 1 of 2") in told
        assert not any(name in text for _, text in told for name in NAMES)  # a name may give the answer away
    shot = Image.open(tmp_path / "shot.png").convert("RGB")
    corner = sum(shot.getpixel((2, 2))) / 3
    assert (corner < 60) if dark else (corner > 220)
    assert (128, 128, 128) in {colour for _, colour in shot.getcolors(2**24)}  # the surround is the same in both


def test_a_page_needs_its_images_and_a_question(tmp_path):
    triad = Triad(target="a.png", option_1="c.png", option_2="z.png")
    with pytest.raises(InputError, match=r"z\.png"):
        people.triads_page(_images(), [triad], tmp_path / "p.html")
    with pytest.raises(InputError, match="of kind 'trial'"):
        people.triads_page(_images(), _triads()[:2], tmp_path / "p.html")
    with pytest.raises(InputError, match="size must lie"):
        Look(size=5000)


def test_what_is_asked_gives_the_experiment_its_name(tmp_path):
    file, name = _page(tmp_path)
    assert _page(tmp_path)[1] == name
    assert _page(tmp_path, _triads()[:-1])[1] != name
    text = file.read_text("utf-8")
    assert "d <b>.png" not in text
    assert text.count("data:image/webp") == len(NAMES)
