"""What is recorded, in forms for others: evidence that an outsider verifies."""
