"""Export files as a dlt source: a resource per stream, its state in dlt's own."""
