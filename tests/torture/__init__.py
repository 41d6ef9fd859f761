"""Torture: seeded kills, damage and mistakes, and whether each ends well. `python -m tests.torture --help`."""
