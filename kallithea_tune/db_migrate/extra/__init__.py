"""Tables, columns and indexes without a model: how the target has them, or why it cannot."""
