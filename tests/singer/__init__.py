"""Tests of Singer streams."""
