"""The memory without Discord; the door is service.MemoryService."""
