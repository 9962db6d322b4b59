from __future__ import annotations

import json

import pytest

from kit import media
from kit.errors import ArgumentError, DataError
from kit.media import Columns, Picture, Sound, Text


@pytest.mark.parametrize(
    "given",
    [
        Sound(),
        Sound(16000, 16000, 400, 160, 80, 8.0),
        Text("abc\n"),
        Text("\0ab", other=True),
        Columns(("a", "b")),
        Picture(0.875, invert=False),
        None,
    ],
)
def test_cards_keep_it(given):
    assert media.from_dict(json.loads(json.dumps(media.to_dict(given)))) == given


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "smell"},
        {},
        {"kind": "text", "alphabet": 7},
        {"kind": "sound", "rate": "x"},
        {"kind": "sound", "rate": 8000, "pitch": 1},
    ],
)
def test_cards_that_lie_are_refused(content):
    with pytest.raises((TypeError, KeyError, ValueError)):
        media.from_dict(content)


def test_a_text_goes_there_and_back():
    text = Text("helo")
    assert text.decode(text.encode("hello")) == "hello"


@pytest.mark.parametrize(
    ("given", "words"),
    [("he😀lo", r"'😀' \(U\+1F600\) at place 3"), ("\ud800", "U.D800"), ("\x07", "U.0007")],
)
def test_an_unknown_character_is_shown(given, words):
    with pytest.raises(DataError, match=words):
        Text("helo").encode(given)
    assert Text("\0helo", other=True).encode(given)[-1] in {0, 4}


def test_rows_are_read_by_name():
    columns = Columns(("age", "height"))
    assert columns.read({"height": 2, "age": 1}) == [1.0, 2.0]
    with pytest.raises(DataError, match="did you mean 'height'"):
        columns.read({"hieght": 2, "age": 1})
    with pytest.raises(DataError, match="lacks height"):
        columns.read({"age": 1})


def test_settings_that_make_no_picture():
    for bad in ({"crop": 0}, {"crop": 1.5}, {"invert": "auto"}):
        with pytest.raises(ArgumentError):
            Picture(**bad)


def test_settings_that_make_no_sound():
    for bad in ({"rate": 0}, {"hop": 300}, {"samples": 10}, {"floor": 0}, {"bands": 1.5}):
        with pytest.raises(ArgumentError):
            Sound(**bad)
    with pytest.raises(ArgumentError, match="once"):
        Text("aa")
