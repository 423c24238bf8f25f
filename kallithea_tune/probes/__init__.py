"""Measurements with no opinion: what they return is numbers."""
