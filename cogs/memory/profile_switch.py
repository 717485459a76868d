"""Loading the models of a profile, and switching to another one while requests are answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

Progress = Callable[[str, float], Awaitable[None]]
PROFILE_KEY = "profile"
