"""Tests of Firstup's own tap."""
