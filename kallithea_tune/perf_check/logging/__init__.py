"""What is logged, how much of it, and what each line costs."""
