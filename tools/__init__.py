"""Scripts that measure the methods and write the documents: ``python -m tools.update``, from the repository's root."""
