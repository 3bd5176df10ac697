"""Tests of loading straight into a database."""
