"""Verified bytes become batches of text columns."""
