"""The table's queue -> vectors, labels."""
