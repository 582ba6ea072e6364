"""Scores under masks: one engine asks the classifier, and each method only proposes masks and weighs the scores."""
