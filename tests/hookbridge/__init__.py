"""Tests of tap-hookbridge."""
