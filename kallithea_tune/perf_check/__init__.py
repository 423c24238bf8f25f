"""perf-check: measurements and the checks that judge them, one folder for each area."""
