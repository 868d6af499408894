"""Where objects come from: stores that list keys and read ranges, and the errors they answer with."""
