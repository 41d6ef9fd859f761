"""The workspace: rules, recovery after a crash, GPUs, status and garbage."""
