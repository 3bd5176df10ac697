"""Tests of the tap; one file per module."""
