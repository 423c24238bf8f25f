"""The ini file: as PasteDeploy reads it, as we edit it, and what in it is a secret."""
