"""Sanity: does the map depend on the weights and on the class?"""
