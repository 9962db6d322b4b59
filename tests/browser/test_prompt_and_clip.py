"""Prompt and Clip in a real JupyterLab: keyboard, files, messages, accessible, and a copy that stays."""

from __future__ import annotations

import io
import re

import numpy as np
import soundfile
from playwright.sync_api import expect

SETUP = """\
import torch, kit
from kit.media import Sound, Text
from kit.variant import Signature, Variant
torch.manual_seed(0)
letters, sound = Text("\\nabcdefgh "), Sound()
writes = Signature("generation", (16,), tuple(letters.alphabet), 10, media=letters)
hears = Signature("classification", sound.shape, tuple("0123456789"), 10, media=sound)
writer = Variant(kit.models.gpt(tokens=10, context=16, width=32, layers=2).eval(), "writer", writes)
spotter = Variant(kit.models.spotter(width=8).eval(), "spotter", hears)"""


def wav(seconds, rate=44100):
    content = io.BytesIO()
    tone = 0.5 * np.sin(np.arange(int(seconds * rate)) * 0.1)
    soundfile.write(content, np.stack([tone, tone], 1), rate, format="WAV")
    return content.getvalue()


def test_a_prompt_is_answered_by_keyboard_and_a_clip_from_a_file(lab):
    notebook = lab.notebook(
        SETUP, "kit.widgets.Prompt([writer, writer.renamed('twin')])", "kit.widgets.Clip(spotter)"
    )
    notebook.run()
    assert notebook.errors() == []
    prompt, clip = (notebook.show(cell).locator(".kit-panel") for cell in (1, 2))
    status, alert = (prompt.locator(f".kit-{part}") for part in ("status", "alert"))

    text = prompt.get_by_label("Text", exact=True)
    answer = prompt.locator("button", has_text=re.compile("^Answer$"))
    text.fill("ab😀")
    text.blur()
    answer.focus()
    notebook.page.keyboard.press("Enter")
    expect(alert).to_contain_text("does not know the character")
    assert text.input_value() == "ab😀"
    text.fill("abc")
    text.blur()
    answer.focus()
    notebook.page.keyboard.press("Enter")
    expect(status).to_contain_text("writer: 120 tokens; twin: 120 tokens")
    expect(alert).to_be_empty()
    expect(prompt.locator(".kit-written")).to_have_count(2)
    assert notebook.axe('.jp-Cell[data-cell="1"] .kit-panel') == []
    prompt.screenshot(path=lab.screenshots / "panel-prompt.png")

    field = clip.locator("input[type=file]")
    field.set_input_files({"name": "word.wav", "mimeType": "audio/wav", "buffer": wav(1.0)})
    expect(clip.locator(".kit-status")).to_contain_text("spotter: ")
    clip.screenshot(path=lab.screenshots / "panel-clip.png")
    for content, words in (
        (b"", "0 bytes"),
        (b"no sound", "no sound that can be read"),
        (wav(600, 8000), "10.0 minutes"),
    ):
        field.set_input_files({"name": "x.wav", "mimeType": "audio/wav", "buffer": content})
        expect(clip.locator(".kit-alert")).to_contain_text(words)
    field.set_input_files({"name": "word.wav", "mimeType": "audio/wav", "buffer": wav(1.0)})
    expect(clip.locator(".kit-status")).to_contain_text("spotter: ")
    expect(clip.locator(".kit-alert")).to_be_empty()
    expect(clip.get_by_role("button", name="Record")).to_have_attribute("aria-pressed", "false")
    assert notebook.axe('.jp-Cell[data-cell="2"] .kit-panel') == []
    stored = notebook.save()
    assert "<table" in stored.cells[1].outputs[1].data["text/html"]
    assert lab.outside == []
