"""The bot's process: client, errors, start and end. May import gateway, chat, memory, config. Nothing below
imports it but extensions and shell.
"""
