"""Tests of the dlt source."""
