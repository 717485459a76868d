"""What a command means whoever asks (Discord, console, shell). Imports memory; never discord, never typer."""
