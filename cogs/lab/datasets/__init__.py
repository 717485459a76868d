"""Conversations and questions: loading, converting and generating them, in BEIR's layout."""
