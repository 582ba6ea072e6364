"""`sightline triads` as it is typed: questions are chosen, a page asks them, answers are scored."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from browser import looks_right, needed
from sightline import picture
from sightline.cli import app
from sightline.studies import people
from test_people import judged

FAMILY = """
name = "two"
[models.a]
model = "faces:balanced"
target = "Smiling"
factors = { kind = "balanced" }
[models.b]
model = "faces:unbalanced"
target = "Smiling"
factors = { kind = "unbalanced" }
[models.c]
model = "faces:unbalanced"
target = "Bald"
factors = { kind = "unbalanced" }
"""


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "260")
    draw = np.random.default_rng(0)
    for i in range(9):
        file = Path(f"faces/{'one' if i < 3 else 'two'}/{i}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.write_png(file, draw.integers(0, 256, (24, 24, 3), dtype=np.uint8))
    Path("family.toml").write_text(FAMILY)
    return tmp_path


def shell(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["triads", *words])
    assert result.exit_code == code, (result.output, result.exception)
    return " ".join(result.output.split())


def matrix(name, seed):
    images = people.stimuli("faces").names
    x = np.random.default_rng(seed).normal(size=(len(images), 3))
    values = -np.linalg.norm(x[:, None] - x, axis=2)
    found = people.SimilarityMatrix(name=name, images=images, values=values)
    people.write_similarity(f"{name}.csv", found)
    return found


def answer(plan, truth, participants, beta=8.0):
    """Answers of simulated people, a file each, as the page saves them."""
    table = judged(truth, people.read_plan(plan), participants, beta=beta)
    Path("answers").mkdir(exist_ok=True)
    for (name,), own in table.group_by("participant"):
        own.write_csv(f"answers/{name}.csv")
    return table


def test_from_images_to_scores(place):
    truth, other = matrix("truth", 0), matrix("other", 1)
    said = shell("make", "faces", "--similarity", "truth.csv", "--similarity", "B=other.csv", "--catch", "2")
    plan = people.read_plan("triads.csv")
    asked = [t for t in plan if t.kind == "trial"]
    assert f"{len(asked)} triads of 9 images, 2 catch trials and 2 to practise" in said
    expected, dropped = people.runner_up_triads([truth], [other], names=("truth", "B"))
    assert asked == expected
    assert not dropped or f"{len(dropped)} targets are left out" in said
    said = shell("page", "triads.csv", "faces", "--out", "page.html", "--prompt", "Who?", "--round", "--grey")
    assert f"{len(asked) + 2} questions in one page" in said
    text = Path("page.html").read_text()
    assert "Who?" in text
    assert "--edge: 50%" in text
    answer("triads.csv", truth, 6)
    said = shell(
        "score", "answers", "--similarity", "truth.csv", "--similarity", "other.csv", "--resamples", "200",
        "--catch", "1", "--json", "people.json", "--out", "people.html",
    )  # fmt: skip
    found = json.loads(Path("people.json").read_text())
    first, second = found["accuracy"]
    assert first["model"] == "truth"
    assert first["accuracy"] > 0.8 > 0.3 > second["accuracy"]
    assert f"{100 * first['accuracy']:.1f} %" in said
    assert first["accuracy"] + second["accuracy"] == pytest.approx(1)  # each proposed the other option
    assert found["preference"][0]["b"] == "truth"
    assert found["preference"][0]["share"] == pytest.approx(first["accuracy"])
    assert "agreement" not in found  # a runner-up meets one rival
    assert "met one rival only" in said
    assert found["settings"]["catch"] == 1
    page = Path("people.html").read_text()
    assert "Whose options people chose" in page
    assert f"{100 * found['ceiling'][0]['upper']:.1f} %" in page


def test_models_of_a_family_and_maps(place):
    said = shell("make", "faces", "--family", "family.toml", "--by", "kind", "--design", "contrasted", "--trials", "9")
    assert "9 triads of 9 images" in said
    plan = people.read_plan("triads.csv")
    assert {(t.source_1, t.source_2) for t in plan if t.kind == "trial"} == {("balanced", "unbalanced")}
    answer("triads.csv", matrix("truth", 0), 3)
    said = shell(
        "score", "answers", "--images", "faces", "--family", "family.toml", "--by", "kind", "--seen", "embedding",
        "--seen", "masked", "--seen", "map", "--method", "input-x-gradient", "--resamples", "50", "--json", "p.json",
    )  # fmt: skip
    lines = json.loads(Path("p.json").read_text())["accuracy"]
    names = ["a", "b", "c", "all 2 of kind unbalanced"]
    assert {(r["model"], r["kind"]) for r in lines} == {(n, k) for n in names for k in ("embedding", "masked", "map")}
    by = {(r["model"], r["kind"]): r for r in lines}
    assert by["b", "embedding"]["accuracy"] == by["c", "embedding"]["accuracy"]  # one network, two decisions
    # Both groups order these triads the other way round, and so do their answers.
    pooled = by["all 2 of kind unbalanced", "embedding"]["accuracy"]
    assert by["a", "embedding"]["accuracy"] + pooled == pytest.approx(1)


def test_ratings_are_known_by_their_columns(place):
    truth = matrix("truth", 0)
    matrix("other", 1)
    draw, lines = np.random.default_rng(0), ["participant,a,b,similarity"]
    for p in range(4):
        for i in range(9):
            for j in range(i):
                value = truth.values[i, j] + 0.3 * draw.normal()
                lines.append(f"p{p},{truth.images[i]},{truth.images[j]},{value}")
    Path("ratings.csv").write_text("\n".join(lines))
    said = shell("score", "ratings.csv", "--similarity", "truth.csv", "--similarity", "other.csv", "--out", "r.html",
                 "--resamples", "100", "--json", "r.json")  # fmt: skip
    good, bad = json.loads(Path("r.json").read_text())["agreement"]
    assert good["person"] > 0.7
    assert good["p"] < 0.001
    assert bad["p"] > 0.01
    assert "4 participants (ratings)" in said
    assert "Agreement of matrices" in Path("r.html").read_text()


@needed
@pytest.mark.parametrize(("width", "scheme"), [(400, 0), (1400, 1)])
def test_the_page_of_scores_can_be_looked_at(place, width, scheme):
    truth, other = matrix("truth", 0), matrix("a model with a name that is rather long for a table", 1)
    people.write_plan("t.csv", people.balanced_triads(truth.images, 60))
    found = people.score_triads(answer("t.csv", truth, 5), [truth, other], resamples=100, permutations=99)
    assert found.agreement is not None
    from sightline.report.page import write_page
    from sightline.report.people import people_page

    write_page("people.html", people_page(found))
    looks_right(place, place / "people.html", width, scheme)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("make", "faces"), "two models or groups of models"),
        (("make", "faces", "--design", "odd", "--similarity", "a.csv", "--similarity", "b.csv"), "--design is"),
        (("make", "faces", "--similarity", "a.csv", "--similarity", "a2=a.csv"), "--design contrasted"),
        (("make", "nowhere", "--design", "balanced"), "no folder"),
        (("make", "faces", "--by", "x", "--design", "runner-up"), "--by names a factor"),
        (("page", "a.csv", "faces"), "no column target"),
        (("score", "nothing.csv"), "cannot be read"),
        (("score", "faces"), "no .csv file"),
        (("score", "j.csv", "-m", "faces:balanced"), "--images"),
        (("score", "j.csv", "-m", "faces:balanced", "--images", "faces"), "no image 'x'"),
        (("score", "j.csv", "--similarity", "a.csv"), "not 'x'"),
    ],
)
def test_slips_are_told(place, words, text):
    matrix("a", 0)
    matrix("b", 1)
    Path("j.csv").write_text("trial,participant,target,option_1,option_2,choice\n1,p,x,y,z,1\n")
    assert text in shell(*words, code=2)


def test_images_of_one_person_are_not_set_against_each_other(place):
    shell("make", "faces", "--design", "balanced", "--identities", "--trials", "30", "--practice", "0")
    for triad in people.read_plan("triads.csv"):
        who = [name.partition("/")[0] for name in triad.names]
        assert who[0] not in who[1:]
