"""Tables, columns and indexes without a model: what they are in the target, or why they cannot be."""
