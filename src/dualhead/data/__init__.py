"""Raw recordings to stores, without torch."""
