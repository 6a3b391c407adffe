"""Logits of many images, fast: batches, precision, folded networks."""
