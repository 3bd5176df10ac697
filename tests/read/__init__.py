"""Tests of the readers: the rows of a file are what its bytes say."""
