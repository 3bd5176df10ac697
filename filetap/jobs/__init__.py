"""Exports that are made on request: windows of time, one job at a time, resumed after any kill."""
