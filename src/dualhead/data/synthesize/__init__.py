"""A small synthetic dataset in the `.skeleton` text format of NTU RGB+D, for demo and tests."""
