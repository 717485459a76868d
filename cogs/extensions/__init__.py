"""Modules that discord.py loads (they have setup()): slash commands, listeners, buttons. Nobody imports them."""
