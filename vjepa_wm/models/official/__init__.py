"""Checkpoints of others: Meta's files and Hugging Face's folders. The names they use appear in this package only."""
