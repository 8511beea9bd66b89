"""Puts the parts together: settings, process, hops."""
