"""Localisation: does the map lie where the object is? A different question from faithfulness."""
