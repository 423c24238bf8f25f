"""Static files for the web server: collected, published, configured and verified."""
