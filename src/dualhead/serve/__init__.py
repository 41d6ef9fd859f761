"""Predictions over HTTP, for programs on this machine."""
