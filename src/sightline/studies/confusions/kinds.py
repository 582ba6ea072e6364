"""The kinds of confusion, told apart by what was measured."""

from collections.abc import Mapping
from typing import Any

from sightline.studies.confusions.plan import Thresholds

KINDS = {
    "near-identical": "the maps coincide, and the classes are near-identical to the classifier",
    "same-place": "the maps coincide, and the classes are not alike: the same pixels are read as another class",
    "several-objects": "the maps part, and each one's place alone raises its own class",
    "context": "the predicted class rests on what is not the true object",
    "unclear": "no rule applies",
}
"""Kinds of confusion in the order of the report. The first, third and fourth are those of L-CAM (arXiv 2209.11189)."""


def kind_of(row: Mapping[str, Any], limits: Thresholds) -> tuple[str, str]:
    """The kind of a misclassified image, and why.

    With d(X) = z_p - z_y, the lead of the predicted class p before the true class y on a part X of the image, T_p and
    T_y the hottest pixels of their maps (the share `keep` for overlap, `mask` for masking), and M the true object:

    - context, where M is known: the map of p has at most `lift` times a uniform map's energy on M, and without M the
      decision stays: d(not M) > 0. Unless it is several objects, below.
    - near-identical, same-place: overlap(T_p, T_y) >= `coincide`, and by `beyond` above that with an unrelated class.
    - several objects: overlap <= `part`; T_y alone turns the decision, d(T_y) < 0, and makes y more probable than the
      whole image does; T_p alone does not, d(T_p) > 0; taking T_p out lowers p against y: d(not T_p) < d(whole). Where
      M is known, taking T_p out must even turn the decision: an object has a place, context is all around.
    - context, where M is not known: overlap <= `part`; d(T_p) > 0, and d(T_y) > 0 or y no more probable than on the
      whole image.

    Args:
        row: Figures of `measure`, with `alike` (cosine in the head), `alike_deviations` and `both_ways`; None where
            something is unknown.
        limits: See `Thresholds`.
    """
    if row["empty_predicted"] or row["empty_true"]:
        which = "predicted" if row["empty_predicted"] else "true"
        return "unclear", f"the map of the {which} class is empty"
    outside = row["lift_predicted"] is not None and row["lift_predicted"] <= limits.lift and row["rest_margin"] > 0
    objects = _objects(row, limits)
    if outside and not objects:
        return "context", (
            f"the predicted map has {row['lift_predicted']:.2f} times a uniform map's energy on the true object, and "
            "without the object the decision stays"
        )
    if row["overlap"] >= limits.coincide:
        return _same(row, limits)
    if objects:
        return "several-objects", (
            f"overlap {row['overlap']:.2f}; the true map's place alone gives the true class "
            f"{row['keep_true_true']:.2f} (whole image {row['whole_true']:.2f}), the predicted map's place does not"
        )
    if row["overlap"] > limits.part:
        return "unclear", f"overlap {row['overlap']:.2f}: the maps neither coincide nor part"
    if row["keep_predicted_margin"] <= 0:
        return "unclear", "the maps part, but the predicted map's place alone does not give the predicted class"
    if row["lift_predicted"] is not None:
        return "unclear", f"the maps part; {_known(row)}"
    if not _turns(row):
        return "context", (
            f"overlap {row['overlap']:.2f}; the predicted map's place alone keeps the decision, the true map's place "
            "does not give the true class"
        )
    return "unclear", "the maps part, and the decision does not depend on the predicted map's place"


def _same(row: Mapping[str, Any], limits: Thresholds) -> tuple[str, str]:
    control = row["overlap_control"]
    if control is not None and row["overlap"] < control + limits.beyond:
        return "unclear", (
            f"overlap {row['overlap']:.2f}, but the map of an unrelated class overlaps by {control:.2f} too"
        )
    text = f"overlap {row['overlap']:.2f}"
    alike, both = row["alike"], row["both_ways"]
    told = "nothing is known of the classes"
    if alike is not None:
        told = f"cosine of the classes in the head {alike:.2f}, {row['alike_deviations']:.1f} standard deviations"
        if alike >= limits.cosine or row["alike_deviations"] >= limits.deviations:
            return "near-identical", f"{text}; {told}"
    if both is not None and both >= limits.both_ways:
        return "near-identical", f"{text}; {both:.0%} of the two classes' images are confused, both ways"
    return "same-place", f"{text}; {told}"


def _turns(row: Mapping[str, Any]) -> bool:
    """Whether the true map's place alone gives the true class."""
    return bool(row["keep_true_margin"] < 0 and row["keep_true_true"] > row["whole_true"])


def _objects(row: Mapping[str, Any], limits: Thresholds) -> bool:
    lead = 0.0 if row["lift_predicted"] is not None else row["whole_margin"]
    return bool(
        row["overlap"] <= limits.part
        and _turns(row)
        and row["keep_predicted_margin"] > 0
        and row["cut_predicted_margin"] < lead
    )


def _known(row: Mapping[str, Any]) -> str:
    if row["rest_margin"] <= 0:
        return "without the true object the decision does not stay"
    return f"the predicted map is on the true object ({row['lift_predicted']:.2f} times a uniform map's energy)"
