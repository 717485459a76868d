"""Which folder a command of the shell looks into: the operator's, or the sample server's where that is empty."""

from __future__ import annotations

from cogs.shell.startup import errors
from config.settings import Settings

SAMPLE_FOLDER = "sample"
DATABASE = "mneme.db"


def sample_settings(settings: Settings) -> Settings:
    """Return the settings with the folder in which `make run` without a token keeps the sample server."""
    return settings.model_copy(update={"data_dir": settings.data_dir / SAMPLE_FOLDER})


async def remembering(settings: Settings) -> Settings:
    """Return the settings, or those of the sample server where nothing else is remembered; that is said.

    A folder or a database that the operator named is used as it is.

    Raises:
        StorageError: the database cannot be opened.
    """
    sample = sample_settings(settings)
    if settings.data_dir_was_set or settings.database_url is not None or not (sample.data_dir / DATABASE).is_file():
        return settings
    if (settings.data_dir / DATABASE).is_file():
        from cogs.memory.service import MemoryService

        service = await MemoryService.open(settings, exclusive=False)
        try:
            if await service.guild_ids():
                return settings
        finally:
            await service.close()
    errors.print(
        f"Nothing is remembered in {settings.data_dir} yet, so this is the sample server, in {sample.data_dir}.",
        style="dim", markup=False, soft_wrap=True,
    )  # fmt: skip
    return sample
