"""Generated chat messages of realistic lengths, the same at every run; no person wrote them."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator

from cogs.memory.records import ChannelInfo, IncomingMessage

GUILD = 900_000_000_000_000_001
FIRST_CHANNEL = 900_000_000_000_001_000
FIRST_AUTHOR = 900_000_000_000_002_000
FIRST_MESSAGE = 910_000_000_000_000_000
START = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
AUTHORS = ("Ada", "Bjørn", "Chidi", "Dara", "Eva", "Farid", "Grace", "Hiro", "Ines", "Jun", "Kofi", "Lena")
QUERIES = (
    "when does the server restart after the deploy",
    "who wanted to bring the pizza on Friday",
    "what did she say about the broken build",
    "link to the slides of the talk",
    "which raid did we agree on",
)
WORDS = tuple(
    """
    the a an and but or so because if when while then after before again still just really maybe probably actually
    I you he she we they it this that these those my your our their me him her us them who what which where how why
    is are was were be been have has had do does did can could should would will might must need want like think know
    say said tell told ask asked see saw look looked find found get got give gave take took make made go went come came
    work works worked play played run running start started stop stopped break broke fix fixed build built deploy
    deployed restart restarted update updated download upload open close merge review test tests testing crash crashed
    server client branch commit release version config error log logs database backup password router cable keyboard
    laptop screen phone camera picture video song playlist game raid boss level guild quest potion sword team match
    score ticket train flight hotel street house kitchen garden cat dog rabbit bird pizza pasta soup coffee tea bread
    cheese birthday party meeting call talk slides exam lecture homework project deadline holiday weekend morning
    evening tonight tomorrow yesterday Monday Tuesday Friday Saturday Sunday January March August summer winter money
    price cheap expensive new old big small long short good bad better worse best easy hard fast slow late early ready
    sure sorry thanks please hello lol yeah nope okay wait never always sometimes often already about with without for
    from into over under near behind between of on in at to as by not no yes one two three ten hundred 2024 15:30
    """.split()
)


SYLLABLES = tuple(a + b for a in "bdfgklmnprstvz" for b in "aeiou")
RARE_WORDS = 60_000


def rare_word(rng: random.Random) -> str:
    """Return a made-up word: a few come often, most hardly ever, as names and slang do."""
    rank = min(RARE_WORDS, int(rng.paretovariate(0.5)))
    letters = ""
    while rank:
        rank, place = divmod(rank, len(SYLLABLES))
        letters += SYLLABLES[place]
    return letters + "x"


def text(rng: random.Random, median_words: int = 14, rare: float = 0.0) -> str:
    """Return a message whose length is log-normal around ``median_words``; ``rare`` is the share of made-up words."""
    count = max(1, min(400, round(rng.lognormvariate(0.0, 0.7) * median_words)))
    words = rng.choices(WORDS, k=count)
    if rare:
        words = [rare_word(rng) if rng.random() < rare else word for word in words]
    for place in range(9, count, 10):
        words[place] += rng.choice((".", ",", "!", "?", " :)"))
    words[0] = words[0].capitalize()
    return " ".join(words)


def texts(count: int, *, seed: int = 7, median_words: int = 14) -> list[str]:
    """Return ``count`` messages."""
    rng = random.Random(seed)
    return [text(rng, median_words) for _ in range(count)]


def channels(count: int) -> list[ChannelInfo]:
    """Return the channels of the generated server."""
    return [ChannelInfo(FIRST_CHANNEL + i, GUILD, f"channel-{i}") for i in range(count)]


def messages(count: int, channel_count: int = 20, *, seed: int = 7, first: int = 0) -> Iterator[IncomingMessage]:
    """Yield messages over the channels, oldest first, one in six an answer to an earlier one of its channel."""
    rng = random.Random(seed)
    last: dict[int, int] = {}
    for number in range(first, first + count):
        channel = FIRST_CHANNEL + rng.randrange(channel_count)
        author = rng.randrange(len(AUTHORS))
        message_id = FIRST_MESSAGE + number * 4096
        yield IncomingMessage(
            id=message_id,
            guild_id=GUILD,
            channel_id=channel,
            author_id=FIRST_AUTHOR + author,
            author_name=AUTHORS[author],
            content=text(rng, rare=0.2),
            created_at=START + dt.timedelta(seconds=number),
            reply_to_id=last.get(channel) if rng.random() < 1 / 6 else None,
            kind="default",
        )
        last[channel] = message_id
