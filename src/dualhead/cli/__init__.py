"""The command line, `dualhead`: one module for the commands of each wing."""
