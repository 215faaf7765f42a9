"""Recipes, one folder per benchmark."""
