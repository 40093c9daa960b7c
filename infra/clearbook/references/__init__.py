"""The commands about reference data: exchange rates, the catalogue of products, openings, repair rules."""
