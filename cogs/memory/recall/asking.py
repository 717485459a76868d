"""Which parts of a text ask, in the main languages: a message that only asks is no evidence for an answer. Pure.

Question marks of all scripts decide where there is one; where people leave them out, the words that begin a question
do, or the particles that end one. Nothing here has to be right always: fusion weighs it as one signal among others.
"""

from __future__ import annotations

import re

_MARKS = "?？؟;՞፧⁇⁈"
_SENTENCE = re.compile(rf"[^.!。！…\n{re.escape(_MARKS)}]+[.!。！…{re.escape(_MARKS)}]*")
_CLAUSE = re.compile(r"[,;:，、；：،]\s*|\s[–—-]\s")
_NOT_WORDS = re.compile(r"https?://\S+|<[^<>\s]+>|@\w+")
_WORD = re.compile(r"\w+", re.UNICODE)
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_BEGINNINGS = (
    # Whole beginnings, because "what a trip" and "when I came" ask nothing.
    r"(?:who|what|where|why|how|when|which|whose)(?:'s|’s| (?:is|are|was|were|do|does|did|can|could|should|will|would|"
    r"has|have|had|many|much|long|old|far|often|about|kind|time|day|colou?r|one))\b",
    r"(?:does|did|is|are|was|were|can|could|has|have|will|would|should) (?:any|some|you|we|i|there|it|he|she|they)",
    r"(?:do (?:any|some|you|we|i|they)|any(?:one|body) (?:know|has|have|got|seen|here))",
    r"(?:wer|wo|wann|warum|wieso|weshalb|woher|wohin|wem|wessen|welche[rsnm]?) \w+",
    r"(?:was|wie) (?:ist|war|sind|macht|hat|habt|haben|kann|soll|wird|gibt|heißt|kostet|geht)\b",
    r"wie (?:viele?|lange?|oft|alt|weit|spät|teuer)\b",
    r"(?:hat|habt|kann|könnte|weiß|weiss|kennt|gibt|ist|sind) (?:jemand|einer|wer|es|das|die|der|ihr|du|sie|er)\b",
    r"(?:qui|où|quand|comment|pourquoi|combien|quelle?s?|est-ce|qu['’]est-ce|quelqu['’]un) \w+",
    r"(?:quién(?:es)?|qué|dónde|cuándo|cómo|por qué|cuánt[oa]s?|cuál(?:es)?|alguien sabe)\b",
    r"(?:quem|onde|por que|quanto|qual|alguém) \w+",
    r"(?:chi|che cosa|cosa|dove|perché|quanto|quale|qualcuno) \w+",
    r"(?:wie|wat|waar|wanneer|waarom|hoe|welke?) (?:is|zijn|was|heeft|hebben|kan|kunnen|gaat|doet|veel|woont)\b",
    r"(?:кто|что|где|когда|почему|зачем|сколько|какой|какая|какие|куда|откуда|чей|хто|де|коли|чому|скільки) \w+",
    r"(?:kto|co|gdzie|kiedy|dlaczego|ile|czy|jaki|jaka|jakie) \w+",
    r"(?:هل|ماذا|متى|أين|لماذا|كيف|كم|مين|وين|آیا|کجا|چرا|چه|کی)\s",
    r"(?:מי|מה|איפה|מתי|למה|איך|כמה|האם)\s",
    r"(?:siapa|apa|di mana|kapan|mengapa|kenapa|bagaimana|berapa)\b",
    r"(?:क्या|कौन|कहाँ|कब|क्यों|कैसे|कितन\w+)",
    r"(?:vem|vad|var|när|varför|hur|hvem|hvad|hvor|hvornår|hvorfor) (?:är|er|har|kan|ska|skal|bor|gör|gør)\b",
)
_BEGINS = re.compile(f"^(?:{'|'.join(_BEGINNINGS)})", re.IGNORECASE)
_ENDS = re.compile(
    r"(?:吗|嗎|呢|么|ですか|ますか|でしたか|ましたか|だろうか|のか|かな|까|니|나요|가요|은가|는지|ไหม|มั้ย|หรือเปล่า|"
    r"\bm[iıuü](?:y?[dsn]\w*)?|\bkaç\b.*)$",
    re.IGNORECASE,
)
_INSIDE = re.compile(
    "谁|誰|什么|什麼|哪|几点|幾點|多少|怎么|怎麼|为什么|為什麼|何时|何時|几个|幾個|"
    "どこ|いつ|なぜ|どうして|何[をがにでの人時]|いくら|いくつ|누구|무엇|어디|언제|어떻게|얼마|몇|ใคร|อะไร|ที่ไหน|เมื่อไหร่|ทำไม|"
    r"\bnerede|\bneden\b|\bnasıl\b|\bkim\b|\bne zaman\b",
    re.IGNORECASE,
)
_ABOUT_ASKING = re.compile(
    r"\b(?:ask(?:s|ed|ing)?|questions?|wonder(?:s|ed|ing)?|wanted to know|inquir\w+|gefragt|fragt?e?|frage|demand\w+|"
    r"pregunt\w+|pergunt\w+|chie\w+|vroeg|gevraagd|спрашив\w+|спросил\w*|вопрос\w*|sordu\w*|zapyta\w*|pyta\w*)\b|"
    "问|問|聞い|尋ね|質問|물었|물어|질문|سأل|שאל"
)
_RHETORICAL = re.compile(r"^(?:guess|(?:do )?(?:you )?know) (?:what|who)|^remember", re.IGNORECASE)
_OF_ONESELF = re.compile(
    r"\b(?:i|i['’]m|we|my|our|me|us|ich|wir|mein\w*|mich|mir|uns\w*|je|j['’]ai|nous|mon|ma|mes|notre|yo|mi|mis|nosotros|"
    r"nuestr\w+|eu|meu|minha|nós|io|mio|mia|noi|ik|mijn|wij|jag|jeg|min|mitt|vi|ja|moj\w*|mam|jestem|я|мы|мой|моя|моё|мне|"
    r"меня|ben|benim|biz|saya|aku|kami|tôi|mình)\b|我|私|僕|俺|うち|저는|나는|내가|제가|우리|أنا|نحن|אני|אנחנו|मैं|मेर|हम|ฉัน|ผม",
    re.IGNORECASE,
)
EXPLAINED = 0.5
"""What follows a question and is not about its author counts so far as a part of it."""
MOST = 0.6
"""From this share of a message's words on, it is said to ask and to tell nothing."""
SHORT_WORDS, SHORT_CJK = 14, 24
"""Without a question mark, only a sentence this short is a question by its words."""


def asks(text: str) -> bool:
    """Return whether a text is a question, as a person types one to a search."""
    return asking_share(text) > 0


def only_asks(text: str) -> bool:
    """Return whether a message asks and tells little beside."""
    return asking_share(text) >= MOST


def asking_share(text: str) -> float:
    """Return the share of a text's words that ask, 0 to 1; of scripts without spaces the characters count."""
    asking = telling = 0
    first_asks, first, told = False, None, []
    for match in _SENTENCE.finditer(_NOT_WORDS.sub(" ", text)):
        sentence = match.group().strip()
        length = _length(sentence)
        if length:
            asked = _asking_part(sentence)
            asking += asked
            telling += length - asked
            told += [] if asked else [sentence]
            if first is None:
                first, first_asks = sentence, asked == length
    if not asking or first is None:
        return 0.0
    share = asking / (asking + telling)
    # "Does anyone have my wrench? The long one with the red grip" goes on asking; "Guess what? I moved" does not.
    explains = first_asks and not _RHETORICAL.search(first) and not any(map(_OF_ONESELF.search, told))
    return share + (1 - share) * EXPLAINED if explains else share


def about_asking(query: str) -> bool:
    """Return whether a query is after a question that somebody asked: then questions are what answers it."""
    return _ABOUT_ASKING.search(query) is not None


def _asking_part(sentence: str) -> int:
    """Return how many words of a sentence belong to a question."""
    plain = sentence.rstrip(" \"'”’)*_~")
    if plain.endswith(tuple(_MARKS)) and (not plain.endswith(";") or re.search("[\u0370-\u03ff]", plain)):
        clauses = [clause for clause in _CLAUSE.split(plain) if _length(clause)]
        # "I am allergic to shellfish, is there any in it?" tells something before it asks.
        told = sum(_length(clause) for clause in clauses[:-1] if _length(clause) > 3 and not _begins(clause))
        return _length(sentence) - told
    if plain.endswith((".", "!", "。", "！")) or not _is_short(plain):
        return 0
    return _length(sentence) if _begins(plain) or _ENDS.search(plain) or _INSIDE.search(plain) else 0


def _begins(clause: str) -> bool:
    return _BEGINS.match(clause.lstrip(" ¿\"'“‘(*_~")) is not None


def _is_short(sentence: str) -> bool:
    return _length(sentence) <= (SHORT_CJK if _CJK.search(sentence) else SHORT_WORDS)


def _length(text: str) -> int:
    """Return the number of words, or of characters where they are written without spaces."""
    return sum(len(word) if _CJK.search(word) else 1 for word in _WORD.findall(text))
