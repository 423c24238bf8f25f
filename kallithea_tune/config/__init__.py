"""The ini file: read as PasteDeploy reads it, edited, and its secrets."""
