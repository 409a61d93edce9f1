"""Recipes: named settings of an experiment for a question, filled in from recordings and written as commented YAML."""
