"""What an outsider knows of a memory that is killed at any moment: what was promised, and what is in doubt."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the stream: what each message that it touches says afterwards (``None``: nothing)."""

    number: int
    after: dict[int, str | None]


@dataclass
class Ledger:
    """The texts that each message may hold. More than one only while an operation on it is not acknowledged."""

    allowed: dict[int, set[str | None]] = field(default_factory=dict)
    texts: dict[int, set[str]] = field(default_factory=dict)
    acknowledged: int = 0
    _open: dict[int, Operation] = field(default_factory=dict)

    def began(self, operation: Operation) -> None:
        """Note that an operation was handed to the memory."""
        self._open[operation.number] = operation
        for message_id, text in operation.after.items():
            self.allowed.setdefault(message_id, {None}).add(text)
            if text is not None:
                self.texts.setdefault(message_id, set()).add(text)

    def ended(self, number: int) -> None:
        """Note that the memory acknowledged it."""
        self.acknowledged += 1
        for message_id, text in self._open.pop(number).after.items():
            self.allowed[message_id] = {text}

    def crashed(self) -> None:
        """Nothing more will be acknowledged."""
        self._open.clear()

    def settle(self, stored: dict[int, str]) -> list[str]:
        """Compare with what is stored after a restart, and take over what was in doubt; return what is wrong."""
        wrong = []
        for message_id, allowed in self.allowed.items():
            actual = stored.get(message_id)
            if actual not in allowed:
                wrong.append(f"message {message_id} holds {actual!r}, which is none of {allowed!r}")
            self.allowed[message_id] = {actual}
        wrong += [f"message {i} was never written" for i in stored.keys() - self.allowed.keys()]
        return wrong

    def present(self) -> dict[int, str]:
        """Return the messages that are certainly there, with their text."""
        return {i: text for i, allowed in self.allowed.items() if len(allowed) == 1 for text in allowed if text}

    def gone_texts(self) -> list[str]:
        """Return the texts that were deleted or replaced, and that nothing may hold any more, newest message first."""
        newest = sorted(self.texts, reverse=True)
        return [text for i in newest for text in self.texts[i] if text not in self.allowed[i]]
