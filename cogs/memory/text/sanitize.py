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
_JOINING_SCRIPTS = ("ARABIC", "SYRIAC", "DEVANAGARI", "BENGALI", "GUJARATI", "KANNADA", "MALAYALAM", "TAMIL", "TELUGU")
_LINE_BREAKS = re.compile("\r\n|[\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
_FULLWIDTH_AT = "＠"

#: http(s) only, ASCII only, and ending where Discord itself ends a link, so that nothing unescaped hangs behind it.
_URL = re.compile(r"https?://[A-Za-z0-9\-._~:/?#@!$&'()*+,;=%|\[\]`\\{}^]+", re.IGNORECASE)
_URL_TAIL = ".,:;\"')]!?*|`\\_~"
_URL_ENCODED = {character: f"%{ord(character):02X}" for character in "@*|`\\[](){}^~"}
_MASKED_LINK = re.compile(
    r"\[((?:\\.|[^\[\]\\]|\[(?:\\.|[^\[\]\\])*\])*)\]"
    r"\(\s*<?([^\s<>()]*(?:\([^\s<>()]*\)[^\s<>()]*)*)>?(?:\s+(?:\"[^\"]*\"|'[^']*'|\([^()]*\)))?\s*\)"
)
_MENTION = re.compile(r"<(@[!&]?|#)(\d{1,20})>")
_EMOJI = re.compile(r"<a?:(\w{1,64}):\d{1,20}>")
_COMMAND = re.compile(r"</([^\s:<>][^:<>]{0,98}):\d{1,20}>")
_TIMESTAMP = re.compile(r"<t:(-?\d{1,14})(?::[A-Za-z])?>")
#: What is left of broken mentions, and of masked links nested deeper than the pattern looks.
_OPENINGS = (("<@", "‹＠"), ("<#", "‹#"), ("</", "‹/"), ("<id:", "‹id:"), ("](", "] ("))
_MASS_MENTION = re.compile(r"@(?=\s*(?:everyone|here)\b)", re.IGNORECASE)
_INLINE = re.compile(r"([\\*_`~|\[\]<>])")
#: Headings, subtext, quotes, lists, rules: what means something only where a line starts.
_LINE_START = re.compile(r"^(\s*)([#+\-=])", re.MULTILINE)
_LEADING_NUMBER = re.compile(r"^(\s*\d+)([.)])", re.MULTILINE)


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
    known = names or {}
    text = visible(text)
    previous = None
    while previous != text:  # What one pass uncovers, the next one finds: "<@<@1>2>", "@@everyone".
        previous = text
        text = _MASKED_LINK.sub(_unmasked, text)
        text = _MENTION.sub(lambda match: _mention_name(match, known), text)
        text = _EMOJI.sub(r":\1:", text)
        text = _COMMAND.sub(r"/\1", text)
        text = _TIMESTAMP.sub(_date_of, text)
        text = _MASS_MENTION.sub(_FULLWIDTH_AT, text)
    for opening, disarmed in _OPENINGS:
        text = text.replace(opening, disarmed)
    return text


def _unmasked(match: re.Match[str]) -> str:
    label, target = match[1].strip(), match[2].strip()
    if not target:
        return f"{label} ()" if label else "()"
    return target if label in ("", target) else f"{label} → {target}"


def _mention_name(match: re.Match[str], known: Mapping[int, str]) -> str:
    name = known.get(int(match[2]))
    if match[1] == "#":
        return "#" + (" ".join(visible(name).split()) if name else "a-channel")
    shown = " ".join(visible(name).split()).replace("<", "‹").replace("@", _FULLWIDTH_AT) if name else "someone"
    return _FULLWIDTH_AT + shown


def _date_of(match: re.Match[str]) -> str:
    try:
        moment = dt.datetime.fromtimestamp(int(match[1]), dt.UTC)
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
    while url and url[-1] in _URL_TAIL and not (url[-1] == ")" and url.count("(") >= url.count(")")):
        url = url[:-1]
    return url


def _escape(text: str) -> str:
    text = _LINE_START.sub(r"\1\\\2", _INLINE.sub(r"\\\1", _MASS_MENTION.sub(_FULLWIDTH_AT, text)))
    return _LEADING_NUMBER.sub(r"\1\\\2", text)


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
