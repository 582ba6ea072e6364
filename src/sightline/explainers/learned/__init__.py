"""Learned: attention that was trained beside a frozen classifier; one forward pass an explanation."""
