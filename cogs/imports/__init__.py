"""Exports (DiscordChatExporter's, Discord's own data package, lists of messages) into the memory."""
