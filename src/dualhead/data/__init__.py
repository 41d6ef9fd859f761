"""Raw recordings to stores; never hears of torch."""
