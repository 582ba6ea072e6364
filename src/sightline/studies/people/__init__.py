"""Do models see as people do? Triads and ratings of similarity, models' own similarities, and how well they agree.

Judgements come from a page of one file (`triads_page`) or any table; models are asked through their penultimate layer,
through it under a mask of relevance, or through their maps.
"""

from sightline.studies.people.choices import Ceiling, accuracy, ceiling, differences
from sightline.studies.people.design import (
    balanced_triads,
    contrasted_triads,
    random_triads,
    runner_up,
    runner_up_triads,
    with_extras,
)
from sightline.studies.people.embeddings import embeddings, penultimate_layer
from sightline.studies.people.matrices import People, agreement, people_of_ratings, people_of_triads
from sightline.studies.people.models import (
    Stimuli,
    model_similarities,
    relevance,
    relevance_masked,
    run_maps,
    stimuli,
)
from sightline.studies.people.page import Look, triads_page
from sightline.studies.people.participants import attentive, participants, preference
from sightline.studies.people.ratings import read_ratings
from sightline.studies.people.scoring import Scored, score_ratings, score_triads
from sightline.studies.people.similarity import (
    SimilarityMatrix,
    of_embeddings,
    of_maps,
    of_scores,
    pooled,
    read_similarity,
    write_similarity,
)
from sightline.studies.people.triads import Triad, numbered, read_plan, read_triads, write_plan

__all__ = [
    "Ceiling",
    "Look",
    "People",
    "Scored",
    "SimilarityMatrix",
    "Stimuli",
    "Triad",
    "accuracy",
    "agreement",
    "attentive",
    "balanced_triads",
    "ceiling",
    "contrasted_triads",
    "differences",
    "embeddings",
    "model_similarities",
    "numbered",
    "of_embeddings",
    "of_maps",
    "of_scores",
    "participants",
    "penultimate_layer",
    "people_of_ratings",
    "people_of_triads",
    "pooled",
    "preference",
    "random_triads",
    "read_plan",
    "read_ratings",
    "read_similarity",
    "read_triads",
    "relevance",
    "relevance_masked",
    "run_maps",
    "runner_up",
    "runner_up_triads",
    "score_ratings",
    "score_triads",
    "stimuli",
    "triads_page",
    "with_extras",
    "write_plan",
    "write_similarity",
]
