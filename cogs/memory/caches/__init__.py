"""What is kept beside the database and must go with a message."""
