"""perf-check's domain: what is measured, and what follows from it."""
