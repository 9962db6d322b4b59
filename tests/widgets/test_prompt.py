from __future__ import annotations

import asyncio

import pytest
import torch

import kit
from kit.errors import ArgumentError, ModelError
from kit.media import Text
from kit.variant import Signature, Variant
from kit.widgets import Prompt

ALPHABET = "\nabcdefgh "


@pytest.fixture(scope="module")
def writer():
    signature = Signature("generation", (16,), tuple(ALPHABET), 10, media=Text(ALPHABET))
    torch.manual_seed(0)
    return Variant(kit.models.gpt(tokens=10, context=16, width=32, layers=2).eval(), "writer", signature)


@pytest.fixture(scope="module")
def namer():
    text = Text("\0" + ALPHABET, other=True)
    signature = Signature("classification", (40,), ("verse", "prose"), 2, media=text)
    torch.manual_seed(0)
    return Variant(kit.models.charnet(classes=2, tokens=11, width=8).eval(), "namer", signature)


def test_every_variant_goes_on_with_the_text(writer):
    panel = Prompt([writer, writer.renamed("twin")], "abc")
    panel.length.value, panel.seed.value = 30, 5
    said = asyncio.run(panel.run())
    expected = kit.pipeline(writer)("abc", length=30, temperature=0.8, seed=5)
    assert [made.text for made in said.values()] == [expected.text] * 2
    assert panel.code == "kit.pipeline(variant)('abc', length=30, temperature=0.8, seed=5)"
    assert eval(panel.code, {"kit": kit, "variant": writer}).text == expected.text
    assert "30 tokens" in panel.frame.status
    _, header, rows = panel.table()
    assert header[0] == "variant"
    assert [row[1] for row in rows] == [expected.text] * 2
    assert panel._shown.value.count("ms a token") == 2


def test_a_text_is_shown_while_it_grows_and_stop_keeps_what_there_is(writer):
    panel = Prompt(writer, "abc")
    panel.length.value = 2000
    seen = []

    def stop(change):
        seen.append(change["new"])
        panel.stop()

    panel._shown.observe(stop, "value")
    said = asyncio.run(panel.run())
    assert "writer" in seen[0]
    assert 0 < said["writer"].tokens < 2000


def test_classifiers_show_probabilities(namer):
    panel = Prompt([namer, namer.renamed("twin")], "abba")
    asyncio.run(panel.run())
    labels = kit.pipeline(namer)("abba")
    assert panel.said["namer"].outputs == labels.ranked
    assert labels.label in panel.frame.status
    assert len(panel.table()[2]) == 2
    assert panel.code == "kit.pipeline(variant)('abba')"
    assert "kit-bars" in panel._shown.value or labels.label in panel._shown.value


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "empty"), ("ab😀", r"'😀' (U+1F600)"), ("a\ud800", "half a character"), ("a\x07", "U+0007")],
    ids=["empty", "emoji", "surrogate", "bell"],
)
def test_what_cannot_be_read_is_said_stays_and_the_next_text_works(writer, text, words):
    panel = Prompt(writer, text)
    panel.attempt(panel.start)
    assert words in panel.frame.alert
    assert panel.frame.alert.encode()
    assert panel.text.value == text
    assert not panel.work.running
    panel.text.value, panel.length.value = "abc", 3
    panel.attempt(panel.start)
    asyncio.run(panel.wait())
    assert panel.frame.alert == ""
    assert panel.said["writer"].tokens == 3


def test_emoji_are_one_character_more_to_a_classifier(namer):
    panel = Prompt(namer, "a😀")
    asyncio.run(panel.run())
    assert panel.frame.alert == ""
    assert panel.said


def test_a_hundred_kilobytes_are_answered_and_it_is_said_what_was_seen(writer, namer):
    for variant, words in ((writer, "Only the last 16 of 100,000"), (namer, "Only the first 40 of 100,000")):
        panel = Prompt(variant, "abcdefgh " * 11_111 + "a")
        panel.length.value = 3
        asyncio.run(panel.run())
        assert words in panel.frame.status
        assert len(panel.code) < 200


def test_nothing_chosen_is_said(writer):
    panel = Prompt(writer, "abc")
    panel.variants.value = ()
    panel.attempt(panel.start)
    assert "choose at least one variant" in panel.frame.alert


def test_markup_in_a_prompt_stays_text():
    alphabet = "<b>i/"
    signature = Signature("generation", (8,), tuple(alphabet), 5, media=Text(alphabet))
    torch.manual_seed(0)
    panel = Prompt(
        Variant(kit.models.gpt(tokens=5, context=8, width=8, layers=1).eval(), "<i>", signature), "<b>"
    )
    panel.length.value = 3
    asyncio.run(panel.run())
    assert "<b>" not in panel._shown.value
    assert "&lt;i&gt;" in panel._shown.value


def test_what_takes_no_text_is_refused(trained, writer, namer):
    with pytest.raises(ModelError, match="not texts"):
        Prompt(trained)
    with pytest.raises(ArgumentError, match="two panels"):
        Prompt([writer, namer])
    with pytest.raises(ArgumentError, match="at least one"):
        Prompt([])
