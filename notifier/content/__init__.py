"""Texts: Liquid templates, compiled once, rendered for each user."""
