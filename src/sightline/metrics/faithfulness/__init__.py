"""Faithfulness: does the classifier answer as the map says when pixels are altered?"""
