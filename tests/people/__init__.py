"""Tests of commands for people."""
