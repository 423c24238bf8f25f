"""Carries out remedies, and proves that they helped."""
