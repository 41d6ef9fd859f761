"""Stores to trained and scored networks, and ensembles of them."""
