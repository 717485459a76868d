"""Images made to cost time or memory: what is decoded is bounded, whatever the file says of itself."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFile

from cogs.memory.inference import pictures
from cogs.memory.inference.pictures import read_picture, read_pictures


def animation(folder: Path, frames: int, kind: str) -> Path:
    drawn = [Image.new("RGB", (64, 64), (number % 256, 0, 0)) for number in range(frames)]
    path = folder / f"a.{kind}"
    drawn[0].save(path, kind.upper(), save_all=True, append_images=drawn[1:], duration=50)
    return path


@pytest.mark.parametrize("kind", ["gif", "png", "webp"])
def test_of_an_animation_no_more_frames_are_decoded_than_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = animation(tmp_path, 120, kind)
    whole = read_picture(path)
    assert whole.grid[0] > 1
    asked: list[int] = []
    opened = Image.open

    def watched(*args: Any, **named: Any) -> ImageFile.ImageFile:
        image = opened(*args, **named)
        seek = image.seek

        def sought(frame: int) -> None:
            asked.append(frame)
            seek(frame)

        monkeypatch.setattr(image, "seek", sought)
        return image

    monkeypatch.setattr(Image, "open", watched)
    monkeypatch.setattr(pictures, "DECODED_PIXELS", 64 * 64 * 2 * 20)
    assert read_picture(path).grid[0] >= 1
    assert max(asked) < 20
    monkeypatch.setattr(pictures, "DECODED_PIXELS", 1)
    assert read_picture(path).grid[0] == 1


def test_a_still_image_stays_one_and_one_of_too_many_pixels_is_left_out(tmp_path: Path) -> None:
    for kind in ("gif", "png", "webp", "jpeg", "bmp"):
        path = tmp_path / f"still.{kind}"
        Image.new("RGB", (64, 64), "red").save(path, kind.upper())
        assert read_picture(path).seconds == ()
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    (tmp_path / "bomb.png").write_bytes(bomb.getvalue())
    assert read_pictures([tmp_path / "bomb.png"], 1) == []


def test_only_usual_kinds_of_images_are_opened(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "a.png", "EPS")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "b.png", "TIFF")
    assert read_pictures([tmp_path / "a.png", tmp_path / "b.png"], 2) == []


@pytest.mark.parametrize("cut", [20, 60, 200, 900])
def test_a_broken_file_is_left_out(tmp_path: Path, cut: int) -> None:
    for kind in ("gif", "png", "webp"):
        data = animation(tmp_path, 8, kind).read_bytes()
        (tmp_path / "broken").write_bytes(data[:cut] + bytes(40) + data[cut + 40 :])
        assert len(read_pictures([tmp_path / "broken"], 1)) <= 1
