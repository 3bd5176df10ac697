"""From typed batches to RECORD lines and batch files."""
