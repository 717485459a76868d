"""Images, animations and videos of messages → the patches that Qwen3-VL reads.

The rules (patches of 16 pixels, merged 2 × 2, two frames at a time, sides as multiples of 32) come from the model's
own processor; the limits from the cards of Qwen3-VL-Reranker and -Embedding: 4 to 1,800 tokens of 32² pixels for an
image, one frame a second and at most 64 for a video.
"""

from __future__ import annotations

import logging
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

log = logging.getLogger(__name__)
PATCH, MERGE, TEMPORAL = 16, 2, 2
FACTOR: Final = PATCH * MERGE
LEAST_TOKENS, MOST_TOKENS = 4, 1800
FRAME_TOKENS: Final = 128
"""Tokens of one pair of frames of an animation; the cards state no bound for one frame."""
FRAMES_A_SECOND, MOST_FRAMES = 1.0, 64
VIDEO_KINDS: Final = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
"""FFmpeg's names of what is opened. Others name further files to read, as playlists do, and a stranger chose them."""
MOST_DECODED: Final = 2_000
"""Frames of a video that are decoded one by one; of a longer one only those that stand for themselves."""
LARGEST_PIXELS: Final = 50_000_000
"""An image of more pixels is left out: decoding it would take gigabytes."""
DECODED_PIXELS: Final = 400_000_000
"""All frames of an animation together; what comes behind them is left out."""
FILMED_PIXELS: Final = 4_000_000_000
"""All frames of a video together: half an hour of the smallest, some thousand of the usual size."""
ANIMATED_FRAMES: Final = 500
FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP", "BMP")
"""What is opened as an image. Others start programs (PostScript) or are decoded by code that few have looked at."""
Image.MAX_IMAGE_PIXELS = LARGEST_PIXELS


UNREADABLE: Final = (
    *(OSError, EOFError, ValueError, SyntaxError, LookupError, TypeError, OverflowError, MemoryError),
    *(struct.error, zlib.error, av.FFmpegError, Image.DecompressionBombError),
)
"""What the decoders raise for a file that is broken, or made to break them."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image, animation or video: ``patches`` float32 (t · h · w, 1536), ``grid`` (t, h, w) in patches.

    ``seconds`` holds the time of each pair of frames and is empty for an image.
    """

    patches: npt.NDArray[np.float32]
    grid: tuple[int, int, int]
    seconds: tuple[float, ...] = ()

    @property
    def tokens(self) -> int:
        """How many tokens one pair of frames (or the image) takes."""
        return self.grid[1] * self.grid[2] // MERGE**2


def read_pictures(files: Sequence[Path], most: int) -> list[Picture]:
    """Return the pictures that can be read, at most ``most``; the others are left out, and the log says so."""
    pictures: list[Picture] = []
    for file in files[:most]:
        try:
            pictures.append(read_picture(file))
        except UNREADABLE as error:
            log.warning("an image could not be read and is left out: %s", type(error).__name__)
    return pictures


def read_picture(file: Path) -> Picture:
    """Return an image, an animation or a video as patches.

    Raises:
        OSError, av.FFmpegError: the file cannot be read or decoded. ValueError: it is too large or too narrow, or shows
            nothing.
    """
    try:
        opened = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        return _video(file)
    with opened as image:
        _refuse_too_large(image.width, image.height)
        if _moves(image):
            return _animation(image)
        frame = _pixels(image, MOST_TOKENS)
    # A still image fills both frames of a pair.
    return Picture(*_patches(np.stack([frame, frame])))


def _refuse_too_large(width: int, height: int) -> None:
    if width * height > LARGEST_PIXELS:
        raise ValueError(f"{width} × {height} pixels are too many")


def _video(file: Path) -> Picture:
    """Return the frames of a video that are nearest to the whole seconds, or as many as may be."""
    # From an open file and in known kinds only: a name would let the content choose other files and addresses.
    with file.open("rb") as data, av.open(data, "r", options={"format_whitelist": VIDEO_KINDS}) as container:
        if not container.streams.video:
            raise ValueError("the file shows nothing")
        stream = container.streams.video[0]
        _refuse_too_large(stream.width, stream.height)
        seconds = float(container.duration or 0) / av.time_base
        count = min(max(int(seconds * FRAMES_A_SECOND), TEMPORAL), MOST_FRAMES)
        if seconds * float(stream.average_rate or 30) > MOST_DECODED:
            stream.codec_context.skip_frame = "NONKEY"
        step = seconds / count
        frames: list[npt.NDArray[np.float32]] = []
        starts: list[float] = []
        pixels = 0
        for number, frame in enumerate(container.decode(stream)):
            pixels += frame.width * frame.height
            if number >= MOST_DECODED or len(frames) == count or pixels > FILMED_PIXELS:
                break
            _refuse_too_large(frame.width, frame.height)
            start = float(frame.time or 0.0)
            if start >= len(frames) * step - 1e-6:
                frames.append(_pixels(frame.to_image(), FRAME_TOKENS))  # type: ignore[no-untyped-call]
                starts.append(start)
    if not frames:
        raise ValueError("the video has no frame")
    return _paired(frames, starts)


def _paired(frames: list[npt.NDArray[np.float32]], starts: list[float]) -> Picture:
    """Return frames two by two, the last one twice where their number is odd."""
    if len(frames) % TEMPORAL:
        frames, starts = [*frames, frames[-1]], [*starts, starts[-1]]
    pairs = zip(starts[::TEMPORAL], starts[1::TEMPORAL], strict=True)
    return Picture(*_patches(np.stack(frames)), tuple((first + second) / 2 for first, second in pairs))


def _moves(image: Image.Image) -> bool:
    """Return whether there is a second frame, without counting them, which reads the whole file."""
    try:
        image.seek(1)
    except EOFError:
        return False
    finally:
        image.seek(0)
    return True


def _animation(image: Image.Image) -> Picture:
    starts, now = [], 0.0
    # Each frame is decoded on the way, as most are drawn over the one before; here once and below once again.
    most = max(TEMPORAL, min(ANIMATED_FRAMES, DECODED_PIXELS // (2 * max(1, image.width * image.height))))
    for index in range(most):
        try:
            image.seek(index)
        except EOFError:
            break
        _refuse_too_large(image.width, image.height)
        if image.format == "WEBP":
            image.load()  # only then it is known how long the frame is shown
        starts.append(now)
        now += max(float(image.info.get("duration", 100)), 10.0) / 1000
    count = min(max(int(now * FRAMES_A_SECOND), TEMPORAL), MOST_FRAMES, len(starts))
    chosen = np.linspace(0, len(starts) - 1, count).round().astype(int).tolist()
    frames = []
    for index in chosen:
        image.seek(index)
        frames.append(_pixels(image, FRAME_TOKENS))
    return _paired(frames, [starts[index] for index in chosen])


def fitted_size(height: int, width: int, least: int, most: int) -> tuple[int, int]:
    """Return the height and width, multiples of 32, whose pixels lie between ``least`` and ``most``.

    Raises:
        ValueError: one side is more than 200 times the other.
    """
    if max(height, width) / max(1, min(height, width)) > 200:
        raise ValueError("one side of the image is more than 200 times the other")
    tall, wide = round(height / FACTOR) * FACTOR, round(width / FACTOR) * FACTOR
    if tall * wide > most:
        shrink = math.sqrt(height * width / most)
        tall = max(FACTOR, math.floor(height / shrink / FACTOR) * FACTOR)
        wide = max(FACTOR, math.floor(width / shrink / FACTOR) * FACTOR)
    elif tall * wide < least:
        grow = math.sqrt(least / (height * width))
        tall, wide = math.ceil(height * grow / FACTOR) * FACTOR, math.ceil(width * grow / FACTOR) * FACTOR
    return tall, wide


def _pixels(image: Image.Image, most_tokens: int) -> npt.NDArray[np.float32]:
    """Return the image as float32 (3, height, width) in [−1, 1]; what is transparent becomes white."""
    if image.mode in ("RGBA", "LA", "P", "PA"):
        layered = image.convert("RGBA")
        flat = Image.new("RGBA", layered.size, "white")
        flat.alpha_composite(layered)
        image = flat
    colours = image.convert("RGB")
    tall, wide = fitted_size(colours.height, colours.width, LEAST_TOKENS * FACTOR**2, most_tokens * FACTOR**2)
    resized = colours.resize((wide, tall), Image.Resampling.BICUBIC)
    values = np.asarray(resized, dtype=np.float32).transpose(2, 0, 1)
    scaled: npt.NDArray[np.float32] = values / np.float32(127.5) - np.float32(1)
    return scaled


def _patches(frames: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], tuple[int, int, int]]:
    """Return patches in the order that the model merges them, from frames (n, 3, height, width), n even."""
    count, channels, height, width = frames.shape
    grid = (count // TEMPORAL, height // PATCH, width // PATCH)
    cut = frames.reshape(
        grid[0], TEMPORAL, channels, grid[1] // MERGE, MERGE, PATCH, grid[2] // MERGE, MERGE, PATCH
    ).transpose(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return np.ascontiguousarray(cut.reshape(math.prod(grid), -1)), grid
