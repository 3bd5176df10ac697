"""From verified bytes to batches of text columns."""
