"""Findings in plain words: for people who decide about a classifier, not for those who built it."""

from collections.abc import Mapping
from typing import Any

from sightline.studies.statistics import wilson

Line = Mapping[str, Any]
Count = tuple[int, int]


def named(attribute: str) -> str:
    """`Wearing_Hat` -> “Wearing Hat”."""
    return f"“{attribute.replace('_', ' ')}”"


def percent(share: float) -> str:
    """0.384 -> `38 %`; small shares keep a digit after the point."""
    value = 100 * share
    if value == 0 or abs(value) >= 9.95:
        return f"{value:.0f} %".replace("-0 %", "0 %")
    text = f"{value:.1f}".removesuffix(".0")
    return f"{'0' if text == '-0' else text} %"


def between(low: float | None, high: float | None) -> str:
    """` [31, 46]` in per cent; nothing where there is no interval."""
    if low is None or high is None:
        return ""
    return f" [{percent(low).removesuffix(' %')}, {percent(high).removesuffix(' %')}]"


def _rate(line: Line, name: str) -> str:
    return percent(line[name]) + between(line.get(f"{name}_low"), line.get(f"{name}_high"))


def unequal_errors(line: Line) -> str:
    """What share of either side the classifier gets wrong, and whether another threshold would mend it."""
    name, P, N = named(line["attribute"]), line["positives"], line["negatives"]
    if line["minority"] != "no":
        said = (
            f"Of the {P:,} images with {name}, the classifier misses {_rate(line, 'FNR')}; of the {N:,} without, it "
            f"wrongly says yes to {_rate(line, 'FPR')}."
        )
    else:
        said = (
            f"Of the {N:,} images without {name}, the classifier wrongly says yes to {_rate(line, 'FPR')}; of the "
            f"{P:,} with it, it misses {_rate(line, 'FNR')}."
        )
    never = "yes" if not line["TP"] + line["FP"] else "no" if not line["TN"] + line["FN"] else ""
    tuned, now = line.get("balanced_error_tuned"), line.get("balanced_error")
    if never:
        said += f" It never says {never}."
    if tuned is not None and now is not None and tuned <= 0.6 * now:
        said += f" Another threshold alone would bring the mean error of both sides from {percent(now)} to "
        said += f"{percent(tuned)}."
    return said


def constant_share(line: Line, kind: str) -> str:
    """How much of a side's decisions no image has a part in."""
    name, side, n = named(line["attribute"]), line["side"], line["n"]
    constant = 1 - line["share_own"]
    ends = between(1 - line["share_own_high"], 1 - line["share_own_low"])
    start = f"When the classifier says {side} to {name} ({n:,} images), {percent(constant)}{ends} of the decision"
    where = (
        "is the same for every image: a fixed bias of the network"
        if kind == "bias-decides"
        else "is the same for every image: features that fire on all of them"
    )
    own = f"{percent(line['share_own'])} come from the image at hand"
    if line["share_own"] <= 0:
        own = "what the images show speaks, on average, for the other answer"
    return f"{start} {where}. Only {own}." if line["share_own"] > 0 else f"{start} {where}; {own}."


def outside(yes: Line) -> str:
    """Where the evidence for yes lies."""
    name = named(yes["attribute"])
    return (
        f"When the classifier says yes to {name} ({yes['n']:,} images), {_rate(yes, 'pe')} of the evidence lies where "
        f"{name} is to be seen; a map without any information would have {percent(yes['chance'])} there. It looks "
        "elsewhere, so something else than the attribute may decide."
    )


def without(few: Line, many: Line) -> str:
    """What the two sides rest on."""
    name = named(many["attribute"])
    said = f"says {many['side']} to {name}"
    empty = many.get("empty_rate") or 0.0
    blank = f" {percent(empty)} of these maps are empty." if empty >= 0.05 else ""
    return (
        f"When the classifier {said} ({many['n']:,} images), the usual answer, {_rate(many, 'pe')} of the evidence "
        f"lies in the region that matters, no more than chance ({percent(many['chance'])}); when it says "
        f"{few['side']}, {_rate(few, 'pe')}.{blank} The usual answer does not rest on the region."
    )


def unconfirmed(yes: Line, edit: Line) -> str:
    """Maps and intervention disagree."""
    name = named(yes["attribute"])
    return (
        f"The maps of {name} point at its region ({percent(yes['pe'])} of the evidence, chance "
        f"{percent(yes['chance'])}), but changing the region ({edit['edit']}, {edit['n']:,} images) moves the decision "
        f"by {percent(edit['effect_region'])}, and the same change elsewhere by {percent(edit['effect_control'])}. The "
        "maps are not to be relied on here."
    )


def worst_group(attribute: str, side: str, group: Mapping[str, str], own: Count, rest: Count) -> str:
    """How much worse a group is served than the others: (wrong, images) of either."""
    name, first, second = named(attribute), *(percent(k / n) + between(*wilson(k, n)) for k, n in (own, rest))
    if side == "yes":
        what, where = f"misses {name} in", "that have it"
    else:
        what, where = f"wrongly says yes to {name} for", "that do not have it"
    return (
        f"Among images {members(group)}, the classifier {what} {first} of the {own[1]:,} {where}; among all others, "
        f"{'in' if side == 'yes' else 'for'} {second} of the {rest[1]:,}."
    )


def members(group: Mapping[str, str]) -> str:
    """{"Male": "no", "region": "north"} -> `without “Male”, of “region” north`."""
    said = {"yes": "with {}", "no": "without {}"}
    return " and ".join(
        said[value].format(named(column)) if value in said else f"of {named(column)} {value.replace('_', ' ')}"
        for column, value in group.items()
    )


VERDICTS = {
    True: "An intervention confirms it: changing the region changes the decision no more than changing something else.",
    False: "An intervention contradicts it: changing the region changes the decision more than changing something "
    "else. Look at the images before you act.",
}
"""What is said of a finding in the maps after the intervention."""


_DONE = {
    ("cue", "insert"): "Putting the planted cue into {n} images",
    ("cue", "remove"): "Taking the planted cue from {n} images",
    ("paste", "insert"): "Pasting “{region}” into {n} images",
    ("sweep", "remove"): "Hiding the part at {region}, where {name} is not, in {n} images that have it",
}


def elsewhere(line: Line) -> str:
    """What a change outside of the attribute's region does to the answer."""
    name = named(line["attribute"])
    done = _DONE[line["edit"], line["direction"]].format(n=f"{line['n']:,}", region=line["region"], name=name)
    way = "raises" if line["direction"] == "insert" else "lowers"
    return (
        f"{done} {way} the probability of {name} by {percent(line['effect_region'])} on average and turns the answer "
        f"in {_rate(line, 'flip_region')}; as much elsewhere moves it by {percent(line['effect_control'])}."
    )


def companion(line: Line, observed: float, n: int, followed: float) -> str:
    """That the answer follows the attribute where it comes by itself, and not where it alone is switched."""
    name, others = named(line["attribute"]), f"{line['n']:,}"
    if line["direction"] == "insert":
        having, answer, done = f"with {name}", "yes", f"put into {others} others"
    else:
        having, answer, done = f"without {name}", "no", f"taken from {others} others"
    return (
        f"Of the {n:,} images {having}, the classifier says {answer} to {percent(observed)}; when it is {done} and all "
        f"else stays, to {percent(followed)} only. Something that goes with {name} decides."
    )
