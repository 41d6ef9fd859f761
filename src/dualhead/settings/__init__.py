"""Settings: params files, schemas, defaults, checks, the grid, and the files that are read back."""
