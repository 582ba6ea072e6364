"""Complexity: how much does a map say?"""
