"""Recipes: one a file, each a command with its hardware, wall time and score."""
