"""The five operations that both networks are made of, and their implementations."""
