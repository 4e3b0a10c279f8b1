"""Dagster components."""
