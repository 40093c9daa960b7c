"""Reference data: what bills are read against. Currencies, exchange rates, product codes, positions at go-live."""
