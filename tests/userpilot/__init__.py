"""Tests of tap-userpilot."""
