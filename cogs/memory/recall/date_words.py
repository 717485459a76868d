"""The words of dates in other languages than English, turned into the English ones that the grammar reads. Pure.

A phrase is read in a language only where the language knows every word of it, so nothing is guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

_DAY_NAMES: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTH_NAMES: Final = "january february march april may june july august september october november december".split()
_UNITS: Final = ("minutes", "hours", "days", "weeks", "months", "years")

# Each language: the words for each English one, separated by "|"; fillers mean nothing.
_LANGUAGES: Final[Mapping[str, Mapping[str, str]]] = {
    "de": {
        "": "der|die|das|den|dem|des|am|im|in|um|ab|seit|von|vom",
        "today": "heute",
        "yesterday": "gestern",
        "the day before yesterday": "vorgestern",
        "last": "letzte|letzten|letzter|letztes|letztem|vorige|vorigen|voriger|voriges|vergangene|vergangenen|"
        "vergangenes",
        "this": "diese|diesen|dieser|dieses|diesem",
        "ago": "vor",
        "noon": "mittag|mittags",
        "midnight": "mitternacht",
        "days of the week": "montag|dienstag|mittwoch|donnerstag|freitag|samstag,sonnabend|sonntag",
        "months": "januar,jänner|februar|märz|april|mai|juni|juli|august|september|oktober|november|dezember",
        "units": "minute,minuten|stunde,stunden,uhr|tag,tage,tagen,tages|woche,wochen,kw,kalenderwoche|monat,monate,"
        "monaten,monats|jahr,jahre,jahren,jahres",
        "seasons": "frühling,frühjahr|sommer|herbst|winter",
        "weekend": "wochenende",
        "night": "nacht",
        "numbers": "ein,eine,einem,einen,einer|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|elf|zwölf",
    },
    "fr": {
        "": "le|la|les|l|en|à|au|aux|du|de|des|d|depuis|vers",
        "today": "aujourd'hui|aujourd’hui",
        "yesterday": "hier",
        "the day before yesterday": "avant-hier|avant hier",
        "last": "dernier|dernière|derniers|dernières|passé|passée",
        "this": "ce|cet|cette",
        "ago": "il y a",
        "noon": "midi",
        "midnight": "minuit",
        "days of the week": "lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche",
        "months": "janvier|février|mars|avril|mai|juin|juillet|août|septembre|octobre|novembre|décembre",
        "units": "minute,minutes|heure,heures|jour,jours|semaine,semaines|mois|an,ans,année,années",
        "seasons": "printemps|été|automne|hiver",
        "weekend": "week-end|weekend",
        "night": "nuit",
        "numbers": "un,une|deux|trois|quatre|cinq|six|sept|huit|neuf|dix|onze|douze",
    },
    "es": {
        "": "el|la|los|las|en|a|al|de|del|desde",
        "today": "hoy",
        "yesterday": "ayer",
        "the day before yesterday": "anteayer|antes de ayer|antier",
        "last": "pasado|pasada|pasados|pasadas|último|última|últimos|últimas",
        "this": "este|esta",
        "ago": "hace|atrás",
        "noon": "mediodía",
        "midnight": "medianoche",
        "days of the week": "lunes|martes|miércoles|jueves|viernes|sábado|domingo",
        "months": "enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre,setiembre|octubre|noviembre|diciembre",
        "units": "minuto,minutos|hora,horas|día,días|semana,semanas|mes,meses|año,años",
        "seasons": "primavera|verano|otoño|invierno",
        "weekend": "fin de semana",
        "night": "noche",
        "numbers": "un,una,uno|dos|tres|cuatro|cinco|seis|siete|ocho|nueve|diez|once|doce",
    },
    "it": {
        "": "il|lo|la|i|gli|le|l|in|a|al|alle|di|del|da|dal|nel|nella|negli|nelle",
        "today": "oggi",
        "yesterday": "ieri",
        "the day before yesterday": "l'altro ieri|l’altro ieri|altro ieri|altroieri",
        "last": "scorso|scorsa|scorsi|scorse|passato|passata|ultimo|ultima|ultimi|ultime",
        "this": "questo|questa|quest",
        "ago": "fa",
        "noon": "mezzogiorno",
        "midnight": "mezzanotte",
        "days of the week": "lunedì|martedì|mercoledì|giovedì|venerdì|sabato|domenica",
        "months": "gennaio|febbraio|marzo|aprile|maggio|giugno|luglio|agosto|settembre|ottobre|novembre|dicembre",
        "units": "minuto,minuti|ora,ore|giorno,giorni|settimana,settimane|mese,mesi|anno,anni",
        "seasons": "primavera|estate|autunno|inverno",
        "weekend": "fine settimana|weekend",
        "night": "notte",
        "numbers": "un,una,uno|due|tre|quattro|cinque|sei|sette|otto|nove|dieci|undici|dodici",
    },
    "pt": {
        "": "o|a|os|as|em|no|na|nos|nas|às|ao|à|de|do|da|desde",
        "today": "hoje",
        "yesterday": "ontem",
        "the day before yesterday": "anteontem",
        "last": "passado|passada|passados|passadas|último|última|últimos|últimas",
        "this": "este|esta|neste|nesta",
        "ago": "há|atrás",
        "noon": "meio-dia|meio dia",
        "midnight": "meia-noite|meia noite",
        "days of the week": "segunda,segunda-feira|terça,terça-feira|quarta,quarta-feira|quinta,quinta-feira|sexta,"
        "sexta-feira|sábado|domingo",
        "months": "janeiro|fevereiro|março|abril|maio|junho|julho|agosto|setembro|outubro|novembro|dezembro",
        "units": "minuto,minutos|hora,horas|dia,dias|semana,semanas|mês,meses|ano,anos",
        "seasons": "primavera|verão|outono|inverno",
        "weekend": "fim de semana",
        "night": "noite",
        "numbers": "um,uma|dois,duas|três|quatro|cinco|seis|sete|oito|nove|dez|onze|doze",
    },
    "nl": {
        "": "de|het|op|in|om|sinds|van|vanaf",
        "today": "vandaag",
        "yesterday": "gisteren",
        "the day before yesterday": "eergisteren",
        "last": "afgelopen|vorige|vorig|laatste|verleden",
        "this": "deze|dit",
        "ago": "geleden",
        "noon": "middag",
        "midnight": "middernacht",
        "days of the week": "maandag|dinsdag|woensdag|donderdag|vrijdag|zaterdag|zondag",
        "months": "januari|februari|maart|april|mei|juni|juli|augustus|september|oktober|november|december",
        "units": "minuut,minuten|uur,uren|dag,dagen|week,weken|maand,maanden|jaar,jaren",
        "seasons": "lente,voorjaar|zomer|herfst,najaar|winter",
        "weekend": "weekend|weekeinde",
        "night": "nacht",
        "numbers": "een,één|twee|drie|vier|vijf|zes|zeven|acht|negen|tien|elf|twaalf",
    },
    "zh": {
        "": "的|在|从|自|我们",
        "today": "今天|今日",
        "yesterday": "昨天|昨日",
        "the day before yesterday": "前天|前日",
        "last": "上|上个|上個|最近|过去|過去|近",
        "this": "这|這|这个|這個|本",
        "last year": "去年",
        "this year": "今年",
        "last night": "昨晚",
        "ago": "前|之前|以前",
        "noon": "中午|正午",
        "midnight": "午夜|半夜",
        "units": "分钟,分鐘|小时,小時,个小时,個小時,钟头|天|周,星期,礼拜,个星期,个礼拜|个月,個月,月|年",
        "seasons": "春天,春季|夏天,夏季|秋天,秋季|冬天,冬季",
        "weekend": "周末|週末",
        "numbers": "一|二,两,兩|三|四|五|六|七|八|九|十|十一|十二",
    },
}
_SEASONS: Final = ("spring", "summer", "autumn", "winter")
_CHINESE_DAYS: Final = ("一", "二", "三", "四", "五", "六", "日天")
_NUMERALS: dict[str, int] = {
    "一": 1,
    "二": 2,
    "两": 2,
    "三": 3,
    "四": 4,
    "五": 5,
    "六": 6,
    "七": 7,
    "八": 8,
    "九": 9,
    "十": 10,
}
_NUMERALS |= {"十一": 11, "十二": 12}
_NUMERAL: Final = r"\d{1,2}|十[一二]|[一二两三四五六七八九十]"
_CHINESE_DATE: Final = re.compile(rf"(?:(\d{{4}})年)?({_NUMERAL})月(?:份|(\d{{1,2}})[日号號])?")
_CHINESE_TIME: Final = re.compile(rf"(上午|早上|下午|晚上)?({_NUMERAL})[点點](?:(半)|(\d{{1,2}})分?)?")
_NUMBER: Final = re.compile(
    r"(\d{1,2}):(\d{2})(?!\w)|(\d{1,2})h(\d{2})?(?!\w)|(\d{4}-\d{1,2}(?:-\d{1,2})?)|(\d{1,4})(?:er|º|ª)?"
)
_BETWEEN: Final = re.compile(r"[\s,.'’]*")


def in_english(words: str) -> Iterator[str]:
    """Yield what a phrase is in English, once for each language that knows all of its words.

    Args:
        words: The phrase, casefolded.
    """
    seen: set[str] = set()
    for language in _LANGUAGES:
        tokens = _tokens(words, language)
        # 上上周 is the week before the last, which this grammar does not read.
        told = None if tokens is None or max(map(tokens.count, tokens), default=0) > 1 else _ordered(tokens)
        if told and told not in seen:
            seen.add(told)
            yield told


def _ordered(tokens: list[str]) -> str:
    """Return the words in the order of English: "last" in front, "ago" behind, an hour of the day as a time."""
    for place, ends in (("last", False), ("this", False), ("ago", True)):
        if place in tokens:
            tokens = [token for token in tokens if token != place]
            tokens = [*tokens, place] if ends else [place, *tokens]
    if not any(token[0].isdigit() for token in tokens):
        tokens = [token.removesuffix("s") if token in _UNITS else token for token in tokens]
    told = " ".join(tokens)
    if "last" not in tokens and "ago" not in tokens:
        told = re.sub(r"(\d{1,2}) hours(?: (\d{2}))?$", lambda m: f"{m[1]}:{m[2] or '00'}", told)
        told = re.sub(r"(\d{1,2}:\d{2}) hours$", r"\1", told)
    return told


def _tokens(words: str, language: str) -> list[str] | None:
    """Return the English words of a phrase, or ``None`` where the language does not know one of its words."""
    chinese = language == "zh"
    if chinese:
        words = _CHINESE_TIME.sub(_time, _CHINESE_DATE.sub(_date, words))
    known, pattern = _dictionary(language)
    tokens: list[str] = []
    place = 0
    while place < len(words):
        if between := _BETWEEN.match(words, place):
            place = between.end()
        if place == len(words):
            break
        number, word = _NUMBER.match(words, place), pattern.match(words, place)
        if number is not None and (chinese or not words[number.end() : number.end() + 1].isalpha()):
            tokens.append(_number(number))
            place = number.end()
        elif word is not None:
            tokens += known[word[0]].split()
            place = word.end()
        elif (month := _ENGLISH_MONTH.match(words, place)) is not None and chinese:
            tokens.append(month[0])
            place = month.end()
        else:
            return None
    return tokens


_ENGLISH_MONTH: Final = re.compile("|".join(_MONTH_NAMES))


def _number(match: re.Match[str]) -> str:
    if match[1]:
        return f"{match[1]}:{match[2]}"
    if match[3]:
        return f"{match[3]}:{match[4] or '00'}"
    return match[5] or match[6]


def _date(match: re.Match[str]) -> str:
    month = _NUMERALS.get(match[2]) or int(match[2])
    if not 1 <= month <= len(_MONTH_NAMES):
        return match[0]
    told = [match[3] or "", _MONTH_NAMES[month - 1], match[1] or ""]
    return f" {' '.join(part for part in told if part)} "


def _time(match: re.Match[str]) -> str:
    hour = _NUMERALS.get(match[2]) or int(match[2])
    if match[1] in ("下午", "晚上") and hour < 12:
        hour += 12
    return f" {hour}:{30 if match[3] else int(match[4] or 0):02} "


@cache
def _dictionary(language: str) -> tuple[dict[str, str], re.Pattern[str]]:
    """Return the English of each word of a language, and the pattern that finds the longest at a place."""
    known: dict[str, str] = {}
    lists = {"days of the week": _DAY_NAMES, "months": _MONTH_NAMES, "units": _UNITS, "seasons": _SEASONS}
    for english, words in _LANGUAGES[language].items():
        groups = words.split("|")
        if english == "numbers":
            known |= {word: str(n) for n, group in enumerate(groups, start=1) for word in group.split(",")}
        elif english in lists:
            pairs = zip(lists[english], groups, strict=True)
            known |= {word: told for told, group in pairs for word in group.split(",")}
        else:
            known |= dict.fromkeys(groups, english)
    if language == "zh":
        known |= _chinese_days()
    # People leave accents out on keyboards that lack them.
    known = {_plain(word): told for word, told in known.items()} | known
    edge = "" if language == "zh" else r"(?!\w)"
    longest = sorted(known, key=len, reverse=True)
    return known, re.compile("(?:" + "|".join(map(re.escape, longest)) + ")" + edge)


def _chinese_days() -> dict[str, str]:
    """Return 周二 (Tuesday), 上周二 (that of last week) and 本周二 (that of this week)."""
    days: dict[str, str] = {}
    for english, characters in zip(_DAY_NAMES, _CHINESE_DAYS, strict=True):
        for day in characters:
            for week in ("周", "週", "星期", "礼拜"):
                days[week + day] = english
                days |= {f"{last}{week}{day}": f"{english} of_last_week" for last in ("上", "上个")}
                days |= {f"{this}{week}{day}": f"{english} of_this_week" for this in ("这", "這", "本", "这个")}
    return days


def _plain(word: str) -> str:
    accents = str.maketrans("áàâãäéèêëíìîïóòôõöúùûüçñ", "aaaaaeeeeiiiiooooouuuucn")
    return word.translate(accents)
