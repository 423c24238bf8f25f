"""Measurements and checks: one folder for each area, the page of a check beside it."""
