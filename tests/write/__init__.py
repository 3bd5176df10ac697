"""Tests of RECORD lines and batch files."""
