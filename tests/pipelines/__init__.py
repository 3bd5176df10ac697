"""Tests of pipelines into real loaders."""
