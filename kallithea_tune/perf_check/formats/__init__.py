"""Reports for other readers: a page to look at, a monitoring plug-in, a metrics collector."""
