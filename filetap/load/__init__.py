"""Straight into a database: each export file in one transaction, with the state beside its rows."""
