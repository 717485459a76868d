"""``python bot.py doctor``: what works, what does not, and what to do; and the proof that the stores agree."""

from __future__ import annotations

import asyncio
import json
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from cogs.memory.embedding.service import EmbeddingService
from cogs.memory.errors import MnemeError
from cogs.memory.inference import profiles as rules
from cogs.memory.inference.model_specs import RerankerUnavailable
from cogs.memory.models.loadout import MODEL_ERRORS
from cogs.memory.rerankers.registry import load_specs
from cogs.memory.storage.database import create_engine, migrate, sqlite_module
from cogs.memory.storage.repository import Repository
from cogs.memory.storage.verify import Verification, count_messages, repair_stores, verify_stores
from cogs.shell.memory_folder import remembering
from config.settings import Settings

State = Literal["ok", "note", "problem"]
MARKS = {"ok": "✓", "note": "·", "problem": "✗"}
LITTLE_DISK_GB = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; ``advice`` says what to do where it is not well."""

    name: str
    state: State
    detail: str
    advice: str = ""


async def examine(settings: Settings, *, verify: bool, repair: bool, as_json: bool) -> int:
    """Print the findings; exit code 1 where something does not work."""
    settings = await remembering(settings)
    findings = await asyncio.to_thread(lambda: list(look_around(settings)))
    if verify or repair:
        findings.append(await asyncio.to_thread(_verified, settings, repair))
    if as_json:
        print(json.dumps({"findings": [asdict(finding) for finding in findings]}, ensure_ascii=False))
    else:
        for finding in findings:
            print(f"{MARKS[finding.state]} {finding.name}: {finding.detail}")
            if finding.advice:
                print(f"    → {finding.advice}")
    return int(any(finding.state == "problem" for finding in findings))


def look_around(settings: Settings) -> Iterator[Finding]:
    """Yield what was found; no secret is ever part of it."""
    yield Finding("Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield _guarded("SQLite", lambda: f"{sqlite_module().sqlite_version}")
    yield _folder(settings.data_dir)
    yield _guarded("Database", lambda: _database(settings))
    yield _discord(settings)
    yield _llm(settings)
    yield from _models(settings)


def _guarded(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "ok", look())
    except (MnemeError, RerankerUnavailable, *MODEL_ERRORS) as error:
        return Finding(name, "problem", str(error))


def _folder(folder: Path) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".doctor"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        return Finding(
            "Data folder", "problem", f"{folder} cannot be written ({error.strerror})", "Set MNEME_DATA_DIR."
        )
    free = shutil.disk_usage(folder).free / 2**30
    if free < LITTLE_DISK_GB:
        return Finding("Data folder", "problem", f"{folder}, {free:.1f} GB free", "Free some space.")
    return Finding("Data folder", "ok", f"{folder}, {free:.1f} GB free")


def _database(settings: Settings) -> str:
    engine = create_engine(settings.sqlalchemy_url)
    try:
        migrate(engine)
        return f"{engine.dialect.name}, {count_messages(engine):,} messages"
    finally:
        engine.dispose()


def _discord(settings: Settings) -> Finding:
    if settings.discord_token is None:
        return Finding(
            "Discord",
            "note",
            "no DISCORD_TOKEN, so `make run` opens the console",
            "Put DISCORD_TOKEN=… into .env to run the bot.",
        )
    return Finding("Discord", "ok", "a token is set (it is checked when the bot connects)")


def _llm(settings: Settings) -> Finding:
    if settings.llm_base_url is None or settings.llm_model is None:
        return Finding(
            "Answers",
            "note",
            "no language model, so answers quote the best memories",
            "Set MNEME_LLM_BASE_URL and MNEME_LLM_MODEL for written answers.",
        )
    return Finding("Answers", "ok", f"model {settings.llm_model} at {settings.llm_base_url.split('@')[-1]}")


def _models(settings: Settings) -> Iterator[Finding]:
    table = rules.load_profiles(settings.profiles_file)
    machine = rules.Machine.detect()
    try:
        active = rules.choose_profile(table, machine, settings.profile)
    except MnemeError as error:
        yield Finding("Profile", "problem", str(error), "Unset MNEME_PROFILE, or choose one that can run here.")
        return
    yield Finding("Profile", "ok", f"{active.name}: {active.description}")
    for profile in table.values():
        if reason := machine.why_not(profile):
            yield Finding(f"Profile {profile.name}", "note", f"cannot run here: {reason}")
    options = active.load_options(settings.models_folder)
    yield _guarded("Embedder", lambda: _embedder(EmbeddingService.from_name(active.embedder, options)))
    from cogs.memory.models.catalogue import describe

    for spec in load_specs(settings.rerankers_file).values():
        model = describe(spec, options.models_dir, machine.memory_gb, machine.cuda_gb)
        yield Finding(f"Reranker {spec.name}", "ok" if model.present else "note", model.sentence)


def _embedder(service: EmbeddingService) -> str:
    service.load()
    vector = service.embed_query("Does it work?")
    return f"{service.model_key} works, {vector.shape[0]} dimensions"


def _verified(settings: Settings, repair: bool) -> Finding:
    repository = Repository.from_settings(settings)
    try:
        found: Verification = repair_stores(repository, settings.data_dir) if repair else verify_stores(repository)
        if found.agrees:
            return Finding("Stores", "ok", found.sentence)
        return Finding("Stores", "problem", found.sentence, "Run `python bot.py doctor --repair`.")
    finally:
        repository.close()
