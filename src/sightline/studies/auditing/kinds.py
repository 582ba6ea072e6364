"""The kinds of findings: what each is called, what it means, and what may be done."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """What a kind of finding is called, what it means, and what may be done."""

    title: str
    meaning: str
    advice: str


KINDS = {
    "neglected-minority": Kind(
        "The rarer side bears the errors",
        "A classifier that mostly sees one answer may do well on average by giving it nearly always.",
        "Weigh the rarer side higher in training, collect more of it, or choose another threshold; then audit again.",
    ),
    "sign-asymmetry": Kind(
        "One answer is given too readily",
        "Both sides are about as frequent, but one of them gets far more wrong answers.",
        "Choose the threshold on held-out images; the errors table shows what a tuned threshold gives.",
    ),
    "worst-group": Kind(
        "A group is served worse",
        "The classifier errs more often on one group of images than on all others.",
        "Look at the group's images, and at how many the training had; collect more, or weigh them higher.",
    ),
    "bias-decides": Kind(
        "A constant decides, not the image",
        "Most of what makes the decision is a fixed number of the network that no image can change.",
        "Train with balanced weights, then audit again; do not read such a decision as a statement about the image.",
    ),
    "common-evidence-decides": Kind(
        "What fires on every image decides",
        "Most of what makes the decision are features that are there in all images, so it is a constant in effect.",
        "Train with balanced weights, then audit again; do not read such a decision as a statement about the image.",
    ),
    "majority-without-evidence": Kind(
        "The usual answer rests on nothing in the region",
        "For the rarer answer the classifier looks where it should, for the usual one it does not.",
        "Compare with the shares of bias below; train with balanced weights, then audit again.",
    ),
    "shortcut": Kind(
        "Something elsewhere decides",
        "Changing what has nothing to do with the attribute changes the answer.",
        "Find out whether the thing is there when the classifier is used; take it out of the training images, or have "
        "it there with and without the attribute; then audit again.",
    ),
    "companion-decides": Kind(
        "A companion of the attribute decides",
        "The answer is right while attribute and companion come together, and wrong when one of them changes alone.",
        "Find the companion with the edit “sweep” and the mean maps; train on images in which both come apart.",
    ),
    "evidence-outside-region": Kind(
        "The evidence lies elsewhere",
        "The classifier says yes because of something outside the place where the attribute is to be seen.",
        "Look at the mean map for what it looks at: a companion of the attribute, a mark, a background. Test it by "
        "taking that away.",
    ),
    "intervention-unconfirmed": Kind(
        "The maps point at a region that does not matter",
        "Maps and intervention disagree, so the maps of this attribute prove nothing.",
        "Try another method, and edits that are closer to real images.",
    ),
}
"""Kind -> how it is told, in the order of the report."""
