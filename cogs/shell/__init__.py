"""The terminal: typer commands, console, doctor."""
