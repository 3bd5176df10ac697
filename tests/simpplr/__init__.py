"""Tests of tap-simpplr."""
