"""DiscordChatExporter's files into the memory."""
