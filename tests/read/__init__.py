"""Tests of the readers: the rows of a file are those in its bytes."""
