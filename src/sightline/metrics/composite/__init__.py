"""Composites: figures made of several metrics."""
