"""The page, REST, metrics and MCP: HTTP in front of commands. Imports memory, commands and chat; never discord."""
