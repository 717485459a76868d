"""The words of the generator: names, verbs, and small helpers of English."""

from __future__ import annotations

import re
from typing import Final

NAMES: Final = tuple(
    (
        "Aaron Abby Ada Adele Adrian Ahmed Aiko Alan Alba Alice Alina Amara Amir Amy Ana Andre Angela Anita Anton "
        "Aria Arjun Asha Astrid Ava Bao Beatrice Bella Ben Bianca Bilal Boris Brandon Brenda Bruno Cara Carlos "
        "Carmen Cecilia Chen Chloe Clara Claude Colin Connor Cora Daisy Dana Daniel Dario David Deepa Delia Diana "
        "Diego Dmitri Dora Dylan Edith Edward Eleni Elena Eli Elise Elliot Ella Emil Emma Enzo Erik Esme Esther "
        "Ethan Eva Farah Fatima Felix Fiona Flora Frank Freya Gabriel Gavin Gemma George Gina Giulia Grace Greta "
        "Gus Hana Hannah Harold Hassan Hazel Heidi Helen Henry Hugo Ian Ida Imani Ines Ingrid Irene Isaac Isla "
        "Ivan Ivy Jack Jada Jamal James Jana Jasmine Jason Javier Jenna Jin Joan Joel John Jonas Jose Josie "
        "Judith Julia Jun Kai Kareem Karen Karl Kate Keiko Ken Kiran Klara Kofi Lars Laura Layla Leila Leo Lena "
        "Leon Liam Lila Lin Linda Lisa Logan Lola Luca Lucia Lucy Luis Luna Lydia Maeve Magnus Malik Mara Marco "
        "Margot Maria Marie Marta Martin Mateo Maya Mei Mia Miguel Mila Milo Mina Miriam Mohamed Mona Nadia Naomi "
        "Nasir Neha Nia Nico Nina Noah Noor Nora Olaf Olga Oliver Omar Oscar Otto Pablo Paloma Paul Pavel Pedro "
        "Petra Pia Priya Quentin Rahul Ramona Raj Ravi Rebecca Remy Rhea Rita Robin Rocco Rosa Ruby Ruth Ryan "
        "Sadie Salma Sam Samira Sana Sara Sasha Sean Selma Seth Shira Simon Sofia Sonia Stefan Stella Sven Tala "
        "Tamara Tara Tariq Teo Tess Theo Thomas Tina Tobias Tom Uma Uri Vera Victor Viola Wanda Wei Will Willa "
        "Xavier Yara Yuki Yusuf Zara Zoe"
    ).split()
)

IRREGULAR: Final = dict(
    pair.split(":")
    for pair in (
        "went:go got:get made:make took:take bought:buy saw:see found:find told:tell gave:give left:leave "
        "lost:lose met:meet ran:run wrote:write sold:sell sent:send kept:keep brought:bring broke:break "
        "built:build caught:catch chose:choose came:come drove:drive ate:eat felt:feel flew:fly forgot:forget "
        "heard:hear held:hold knew:know learnt:learn paid:pay read:read rode:ride said:say slept:sleep "
        "spent:spend spoke:speak started:start stood:stand swam:swim taught:teach thought:think threw:throw "
        "understood:understand woke:wake won:win wore:wear had:have did:do put:put set:set hurt:hurt let:let "
        "quit:quit hit:hit cut:cut began:begin grew:grow drew:draw fell:fall hid:hide led:lead meant:mean "
        "sang:sing sat:sit tried:try applied:apply copied:copy studied:study carried:carry married:marry "
        "planned:plan stopped:stop dropped:drop installed:install used:use moved:move changed:change "
        "removed:remove updated:update deleted:delete asked:ask liked:like loved:love wanted:want needed:need "
        "tested:test added:add checked:check followed:follow fixed:fix ordered:order downloaded:download "
        "noticed:notice realized:realize decided:decide called:call helped:help opened:open worked:work "
        "played:play turned:turn switched:switch typed:type pasted:paste tweaked:tweak burned:burn burnt:burn "
        "managed:manage finished:finish edited:edit upgraded:upgrade compiled:compile rebooted:reboot "
        "plugged:plug mounted:mount posted:post looked:look booked:book signed:sign joined:join visited:visit "
        "watched:watch cooked:cook baked:bake painted:paint adopted:adopt enrolled:enroll volunteered:volunteer"
    ).split()
)

STOPWORDS: Final = frozenset(
    (
        "a an the and or but if then so of to in on at by for with from as is are was were be been being am do "
        "does did have has had i you he she it we they me him her us them my your his its our their this that "
        "these those there here not no yes don't doesn't didn't isn't can't won't just really very too also only "
        "what when where who why how which will would can could should may might must about into over out up down "
        "off again more most some any all one than like get got go going know think want need see say said good "
        "well okay ok yeah um uh right mean thing things something maybe probably"
    ).split()
)

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9'_\-.]*[A-Za-z0-9]|[A-Za-z0-9]")


def words(text: str) -> list[str]:
    """Return the lower-case words of ``text``, numbers and names with hyphens included."""
    return [word.lower() for word in _WORD.findall(text)]


def stem(word: str) -> str:
    """Return a crude stem, enough to bring ``painting``, ``paints`` and ``painted`` together."""
    word = IRREGULAR.get(word, word)
    for suffix in ("ing", "ies", "ed", "es", "s", "e"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word[: -len(suffix)]
    return word
