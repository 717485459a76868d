"""Which language a line of chat is in, as far as its script and its small words tell; pure, and no model.

A line of a few words often tells nothing, and that is said too: ``None`` is "could be any of the Latin script".
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection
from typing import Final

NAMES: Final = {
    "ar": "Arabic",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian or another language of the Cyrillic script",
    "sv": "Swedish",
    "th": "Thai",
    "tr": "Turkish",
    "vi": "Vietnamese",
    "zh": "Chinese",
}
"""Languages by code, as a sentence names them."""
_SMALL_WORDS: Final = {
    "en": "the a an and or but of to in on at is are was were be been do does did have has had i you he she it we they "
    "my your his her our their what which who when where why how this that there not with for from about can could "
    "will would i'm it's don't",
    "de": "der die das und oder aber ein eine einen ist sind war waren ich du er sie wir ihr mein dein sein was welche "
    "welcher welches wer wann wo warum wie viele nicht mit für von zu im in an am auf bei nach hat habe haben "
    "wird wurde wurden werden kann sich seit noch auch dass als wohnt macht heißt geht kommt gibt spielt fährt",
    "es": "el la los las y o pero un una es son era fue yo tú él ella mi tu su qué que cuál quién cuándo dónde cómo no "
    "con para de por en del al se lo está hay tiene",
    "fr": "le la les et ou mais un une est sont était je tu il elle nous vous mon ma ton son quel quelle qui quand où "
    "pourquoi comment ne pas avec pour de du des au aux dans ce cette a ai j'ai c'est qu'est",
    "it": "il lo la gli le e o ma un una è sono era io tu lui lei mio tuo suo che quale chi quando dove perché come "
    "non con per di del della dei in nel ha ho cosa",
    "pt": "o a os as e ou mas um uma é são era eu tu ele ela meu seu que qual quem quando onde como não com para de do "
    "da em no na tem está você foi",
    "nl": "de het een en of maar is zijn was ik jij je hij zij wij mijn jouw wat welke wie wanneer waar waarom hoe "
    "niet met voor van naar op heeft heb ook dat dit woont",
    "pl": "i w na z do że się jest są był była ja ty on ona my mój twój co jaki jaka kto kiedy gdzie dlaczego jak nie "
    "dla od ma mam czy ale po to",
    "sv": "och eller men en ett är var jag du han hon vi min din vad vilken vem när hur inte med för av till på har "
    "det den som bor",
    "da": "og eller men en et er var jeg du han hun vi min din hvad hvilken hvem hvornår hvor hvordan ikke med for af "
    "til på har det den som bor",
    "cs": "a v na z do že se je jsou byl byla já ty on ona my můj tvůj co jaký kdo kdy kde proč jak ne pro od má mám",
    "ro": "și sau dar un o este sunt era eu tu el ea noi meu tău ce care cine când unde cum nu cu pentru de la din în",
    "hu": "a az és vagy de egy van volt én te ő mi mit melyik ki mikor hol miért hogyan nem hogy is lakik",
    "fi": "ja tai mutta on oli minä sinä hän me mitä mikä kuka milloin missä miksi miten ei että se asuu",
    "tr": "ve veya ama bir bu şu ben sen o biz ne hangi kim nerede nasıl neden mi mı değil ile için var yok "
    "çok daha zaman nedir kimdir kaç tarafından hangisi olan olarak neydi nelerdir oldu olur",
    "vi": "và hoặc là của có không một tôi bạn anh chị em gì nào ai khi đâu sao với cho ở trong được những các",
    "id": "dan atau tapi yang di ke dari ini itu saya aku kamu dia kami apa siapa kapan mana bagaimana tidak dengan "
    "untuk adalah ada punya",
}
_WORDS: Final = {code: frozenset(words.split()) for code, words in _SMALL_WORDS.items()}
_SCRIPTS: Final = {
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "CJK": "zh",
    "CYRILLIC": "ru",
    "ARABIC": "ar",
    "HEBREW": "he",
    "GREEK": "el",
    "THAI": "th",
    "DEVANAGARI": "hi",
}
"""The first word of a letter's Unicode name, and the language most written in it."""
_LETTERS: Final = {
    "de": "ßäöü",
    "es": "ñ¿¡",
    "pt": "ãõ",
    "pl": "łąęśżź",
    "tr": "ğışİ",
    "vi": "đơưạảấầẩậắằặẹẻếềểễệọỏốồộớờợụủứừửữự",
}
"""Letters that hardly another of these languages has."""
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_READ: Final = 400
"""Characters that are looked at: more would cost time and say the same."""


def language_of(text: str) -> str | None:
    """Return the ISO 639-1 code of the likeliest language, or ``None`` where the Latin script is all that is known.

    Of scripts that several languages share (Cyrillic, Arabic) the most written one stands for all: what matters is
    which models can read them.
    """
    letters = [letter for letter in text[:_READ] if letter.isalpha()]
    if not letters:
        return None
    scripts = Counter(_script(letter) for letter in letters if not letter.isascii())
    foreign = {name: count for name, count in scripts.items() if name in _SCRIPTS}
    if sum(foreign.values()) * 3 > len(letters):
        if any(_SCRIPTS[name] == "ja" for name in foreign):
            return "ja"
        return _SCRIPTS[max(foreign, key=lambda name: foreign[name])]
    words = [word.lower().replace("’", "'") for word in _WORD.findall(text[:_READ])]
    counts = {code: sum(word in known for word in words) for code, known in _WORDS.items()}
    for code, own in _LETTERS.items():
        counts[code] += min(2, sum(letter in own for letter in text[:_READ]))
    best = max(counts, key=lambda code: counts[code])
    if not counts[best]:
        return None
    tied = [code for code, count in counts.items() if count == counts[best]]
    return "en" if "en" in tied and text[:_READ].isascii() else next(code for code in tied[::-1])


def outside_of(text: str, languages: Collection[str]) -> str | None:
    """Return the name of the language that a text is in, where it is surely none of these; else, or of none, ``None``.

    A script settles it. Between languages of the Latin script two small words or letters do, or one beside a letter
    that English has not: better to let a model try than to keep a question from it that it reads.
    """
    code = language_of(text)
    if not languages or code is None or code in languages:
        return None
    if code in _WORDS:
        words = {word.lower().replace("’", "'") for word in _WORD.findall(text[:_READ])}
        own = len(words & _WORDS[code]) + sum(letter in _LETTERS.get(code, "") for letter in set(text[:_READ]))
        theirs = max((len(words & _WORDS.get(known, frozenset())) for known in languages), default=0)
        if theirs * 2 >= own or (own < 2 and text.isascii()):
            return None
    return NAMES.get(code, code)


def may_be_english(text: str) -> bool:
    """Return whether a text is English, or so short or bare that it could be."""
    language = language_of(text)
    if language is not None:
        return language == "en"
    letters = [letter for letter in text[:_READ] if letter.isalpha()]
    return sum(letter.isascii() for letter in letters) * 10 >= len(letters) * 9


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]
