"""Text written by other people, made safe to show and safe to hand to a model. Pure.

Three layers, each usable alone: :func:`visible` leaves only characters that a reader can see, :func:`defused` also
takes the force out of mentions and masked links, and then the text is either escaped for Discord (:func:`markdown`)
or flattened for a prompt (:func:`for_prompt`). The order matters: an invisible character inside ``@everyone`` must be
gone before mentions are looked for.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Mapping

#: Letters, marks and symbols that render as nothing although their category says otherwise.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_ZWNJ, _ZWJ, _EMOJI_STYLE, _KEYCAP = "\u200c", "\u200d", "\ufe0f", "\u20e3"
_MAX_MARKS = 4
_LINE_BREAKS = re.compile("\r\n|[\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
_FULLWIDTH_AT = "＠"

#: http(s) only, ASCII only, and ending where Discord itself ends a link, so that nothing unescaped hangs behind it.
_URL = re.compile(r"https?://[A-Za-z0-9\-._~:/?#@!$&'()*+,;=%|\[\]`\\{}^]+", re.IGNORECASE)
_URL_TAIL = ".,:;\"')]!?*|`\\_~"
_URL_ENCODED = {character: f"%{ord(character):02X}" for character in "@*|`\\[](){}^~"}
#: A bracket, one that opens a link's target behind it, or a character that a backslash takes the meaning from.
_BRACKET = re.compile(r"\\.|\[|\]\(?", re.DOTALL)
#: The target excludes brackets, so that no two looks for one cover the same characters: together they are linear.
_TARGET = re.compile(
    r"\(\s*+<?([^\s<>()\[\]]*+(?:\([^\s<>()\[\]]*+\)[^\s<>()\[\]]*+)*)>?"
    r"(?:\s++(?:\"[^\"]*+\"|'[^']*+'|\([^()]*+\)))?\s*+\)"
)
_TOKEN = re.compile(
    r"<(?:(?P<mention>@[!&]?|#)(?P<id>\d{1,20})"
    r"|a?:(?P<emoji>\w{1,64}):\d{1,20}"
    r"|/(?P<command>[^\s:<>][^:<>]{0,98}):\d{1,20}"
    r"|t:(?P<time>-?\d{1,14})(?::[A-Za-z])?)>"
)
_NAME_CHARACTERS = 100
#: What is left of broken mentions and masked links, and what a name has brought in.
_OPENINGS = (("<@", "‹＠"), ("<#", "‹#"), ("</", "‹/"), ("<id:", "‹id:"), ("](", "] ("))
_MASS_MENTION = re.compile(r"@(?=\s*(?:everyone|here)\b)", re.IGNORECASE)
_INLINE = re.compile(r"([\\*_`~|\[\]<>])")
#: Headings, subtext, quotes, lists, rules: what means something only where a line starts.
_LINE_START = re.compile(r"^([^\S\n]*+)([#+\-=])", re.MULTILINE)
_LEADING_NUMBER = re.compile(r"^([^\S\n]*+\d++)([.)])", re.MULTILINE)


def visible(text: str) -> str:
    """Return ``text`` without characters that a reader cannot see, or that reorder what they see.

    Control, format, bidirectional, tag and filler characters go; joiners stay where a script or an emoji needs them;
    piles of combining marks are cut to four; what cannot be a character becomes U+FFFD.
    """
    text = _LINE_BREAKS.sub("\n", text)
    if text.isascii() and text.isprintable():
        return text
    kept: list[str] = []
    marks = 0
    for place, character in enumerate(text):
        category = unicodedata.category(character)
        if category in ("Mn", "Me"):
            marks += 1
            if not _mark_is_seen(character, kept[-1] if kept else "") or marks > _MAX_MARKS:
                continue
        else:
            marks = 0
            if category in ("Cs", "Co", "Cn"):
                character = "\ufffd"
            elif category == "Zs" and character != "\u3000":
                character = " "
            elif character in _BLANK or (category in ("Cc", "Cf") and character not in "\n\t"):
                following = text[place + 1 : place + 2]
                if not (kept and _joins(character, kept[-1], following)):
                    continue
        kept.append(character)
    return "".join(kept)


def _mark_is_seen(mark: str, before: str) -> bool:
    if mark in _BLANK or 0xE0100 <= ord(mark) <= 0xE01EF:
        return False
    if 0xFE00 <= ord(mark) <= 0xFE0F:
        return (
            mark == _EMOJI_STYLE and before != "" and (unicodedata.category(before) == "So" or before in "0123456789#*")
        )
    return True


def _joins(character: str, before: str, after: str) -> bool:
    """Return whether a joiner does its proper work: between emoji, or between letters of a script that joins."""
    if not after:
        return False
    if character == _ZWJ and unicodedata.category(after) == "So":
        return unicodedata.category(before) in ("So", "Sk") or before == _EMOJI_STYLE
    joining = (
        "ARABIC",
        "SYRIAC",
        "DEVANAGARI",
        "BENGALI",
        "GUJARATI",
        "KANNADA",
        "MALAYALAM",
        "TAMIL",
        "TELUGU",
        "SINHALA",
    )
    return (
        character in (_ZWNJ, _ZWJ)
        and unicodedata.name(before, "").startswith(joining)
        and unicodedata.name(after, "").startswith(joining)
    )


def one_line(text: str, limit: int = 80) -> str:
    """Return ``text`` visible, defused and on one line of at most ``limit`` characters: what a name may look like."""
    line = " ".join(defused(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def defused(text: str, names: Mapping[int, str] | None = None) -> str:
    """Return ``text`` visible, with mentions that do not ping and links that show where they lead.

    Args:
        text: What somebody wrote.
        names: Names of members, roles and channels by id, of things that the reader may know of. Others become
            "someone" or "a channel", so that no id tells of a hidden channel.
    """
    text = _without_masks(visible(text))
    known: dict[int, str] = {}

    def shown(match: re.Match[str]) -> str:
        if match["mention"] is None:
            return _shown_token(match)
        number = int(match["id"])
        if number not in known:
            known[number] = _shown_name((names or {}).get(number))
        if match["mention"] == "#":
            return f"#{known[number] or 'a-channel'}"
        return _FULLWIDTH_AT + (known[number] or "someone")

    # Once: what a name or a date puts in is text like any other afterwards and is never looked up again.
    text = _TOKEN.sub(shown, text)
    text = _MASS_MENTION.sub(_FULLWIDTH_AT, text)
    for opening, disarmed in _OPENINGS:
        text = text.replace(opening, disarmed)
    return text


def _without_masks(text: str) -> str:
    """Return ``text`` with each ``[label](target)`` as ``label → target``; the inner one first, each once."""
    if "](" not in text:
        return text
    parts: list[str] = []
    opened: list[int] = []
    place = 0
    while (found := _BRACKET.search(text, place)) is not None:
        parts.append(text[place : found.start()])
        place = found.end()
        if found[0] == "[":
            opened.append(len(parts))
        elif found[0].startswith("]"):
            start = opened.pop() if opened else None
            target = _TARGET.match(text, found.start() + 1) if found[0] == "](" else None
            if start is not None and target is not None:
                _unmask(parts, start, target[1])
                place = target.end()
                continue
            place = found.start() + 1
        parts.append(text[found.start() : place])
    parts.append(text[place:])
    return "".join(parts)


def _unmask(parts: list[str], start: int, target: str) -> None:
    """Take the bracket at ``start`` away and add the target to the label behind it, without copying the label."""
    parts[start] = ""
    alone = len(parts) == start + 2
    label = parts[-1].strip() if alone else "…"
    if alone:
        parts[-1] = label
    if not target:
        parts.append(" ()" if label else "()")
    elif label in ("", target):
        parts[-1] = target
    else:
        parts.append(f" → {target}")


def _shown_token(match: re.Match[str]) -> str:
    if match["emoji"] is not None:
        return f":{match['emoji']}:"
    return f"/{match['command']}" if match["command"] is not None else _date_of(match["time"])


def _shown_name(name: str | None) -> str:
    """Return a name of Discord's own things as it may stand in a text: whatever it is of, no mention begins in it."""
    shown = " ".join(visible(name[:_NAME_CHARACTERS]).split()) if name else ""
    return shown.replace("<", "‹").replace("@", _FULLWIDTH_AT)


def _date_of(seconds: str) -> str:
    try:
        moment = dt.datetime.fromtimestamp(int(seconds), dt.UTC)
    except (OverflowError, ValueError, OSError):
        return "an impossible date"
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def markdown(text: str) -> str:
    """Escape defused text so that Discord shows it as it is; links stay links.

    Inside a link nothing is escaped, because Discord would make the backslash part of it; characters that could end
    the link early or mean something behind it are percent-encoded instead.
    """
    parts: list[str] = []
    end = 0
    for match in _URL.finditer(text):
        url = _without_tail(match[0])
        if len(url) <= len("https://"):
            continue
        parts.append(_escape(text[end : match.start()]))
        parts.append("".join(_URL_ENCODED.get(character, character) for character in url))
        end = match.start() + len(url)
    parts.append(_escape(text[end:]))
    return "".join(parts)


def _without_tail(url: str) -> str:
    """Cut the punctuation that belongs to the sentence; a bracket stays where it closes one of the link's own."""
    unopened = url.count(")") - url.count("(")
    end = len(url)
    while end and url[end - 1] in _URL_TAIL and not (url[end - 1] == ")" and unopened <= 0):
        end -= 1
        unopened -= url[end] == ")"
    return url[:end]


def _escape(text: str) -> str:
    text = _LINE_START.sub(r"\1\\\2", _INLINE.sub(r"\\\1", _MASS_MENTION.sub(_FULLWIDTH_AT, text)))
    return _LEADING_NUMBER.sub(r"\1\\\2", text)


def as_told(text: str, limit: int = 2000) -> str:
    """Return a sentence of the bot's own as Discord may show it, whatever names and texts of others stand in it.

    Every sentence that is sent goes through here, so that nobody has to know which of its parts came from outside.
    """
    told = markdown(defused(text))
    while discord_length(told) > limit:
        text = text[: len(text) * 3 // 4]
        told = markdown(defused(text)) + "…"
    return told


_PROMPT_TABLE = str.maketrans({"<": "‹", ">": "›", "[": "［", "]": "］", "\t": " "})


def for_prompt(text: str, names: Mapping[int, str] | None = None) -> str:
    """Return ``text`` as one line that cannot be taken for anything but quoted text.

    Line breaks become " ⏎ ", so no line of it can pose as a heading, a role or another memory. Angle and square
    brackets are swapped for look-alikes: a server that parses special tokens out of text (``<|im_end|>``, ``</s>``,
    ``[INST]``) finds none, and neither a fence nor a citation can be forged.
    """
    lines = [" ".join(line.split()) for line in defused(text, names).split("\n")]
    return " ⏎ ".join(line for line in lines if line).translate(_PROMPT_TABLE).replace("```", "'''")


def whole_links(text: str, place: int) -> int:
    """Return ``place``, or the start of the link that a cut there would shorten into another address."""
    for match in _URL.finditer(text):
        if match.start() < place < match.end():
            return match.start()
    return place


def discord_length(text: str) -> int:
    """Return the length of ``text`` in UTF-16 units, the stricter of the two ways in which Discord counts."""
    return len(text) + sum(character > "\uffff" for character in text)
