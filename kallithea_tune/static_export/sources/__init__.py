"""What the application serves, and what it refers to."""
