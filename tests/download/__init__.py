"""Tests of the download: bytes are on disk and verified before they are used."""
