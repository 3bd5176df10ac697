"""Where export files come from: web APIs, folders, buckets, SFTP servers."""
