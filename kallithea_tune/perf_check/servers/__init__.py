"""The servers of an ini file: which run, how they are set up, and how to set them up."""
