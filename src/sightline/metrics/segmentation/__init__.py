"""Metrics of explanations of segmentations."""
