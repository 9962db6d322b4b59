// Choose, drop or record a sound. It is decoded here, in the browser, made mono and sent as a small WAV file:
// what a browser records is no format that Python reads, and a long file would end the connection to the kernel.
const AS_IT_IS = 4_000_000;

async function samplesOf(blob, rate) {
  const context = new OfflineAudioContext(1, 1, rate);
  return context.decodeAudioData(await blob.arrayBuffer()); // at this rate
}

function wav(buffer, rate) {
  const count = buffer.length, channels = buffer.numberOfChannels;
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  const word = (at, text) => [...text].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  word(0, "RIFF"); view.setUint32(4, 36 + 2 * count, true); word(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  word(36, "data"); view.setUint32(40, 2 * count, true);
  const parts = Array.from({ length: channels }, (_, c) => buffer.getChannelData(c));
  for (let i = 0; i < count; i++) {
    const mean = parts.reduce((sum, part) => sum + part[i], 0) / channels;
    view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, mean)) * 32767, true);
  }
  return view.buffer;
}

async function prepared(blob, name, rate, longest) {
  if (blob.size === 0) throw new Error("the sound is empty (0 bytes); choose another file");
  let buffer;
  try {
    buffer = await samplesOf(blob, rate);
  } catch {
    if (blob.size <= AS_IT_IS) return blob.arrayBuffer(); // perhaps Python can read it
    throw new Error(`${name} is no sound that this browser can read; WAV, FLAC, OGG and MP3 are safe`);
  }
  if (buffer.duration > longest) {
    throw new Error(`the sound lasts ${(buffer.duration / 60).toFixed(1)} minutes; this panel takes ${longest} seconds: cut it`);
  }
  return wav(buffer, rate);
}

export default {
  render({ model, el }) {
    const label = document.createElement("label");
    label.className = "kit-drop";
    const text = Object.assign(document.createElement("span"), { textContent: "Choose a sound, or drop one here" });
    const input = Object.assign(document.createElement("input"), { type: "file", accept: "audio/*" });
    label.append(text, input);
    const record = Object.assign(document.createElement("button"), { type: "button", textContent: "Record" });
    record.className = "jupyter-button kit-record";
    record.setAttribute("aria-pressed", "false");
    el.append(label, record);
    const give = async (blob, name) => {
      if (!blob) return;
      try {
        model.send({ name, problem: "" }, undefined, [await prepared(blob, name, model.get("rate"), model.get("longest"))]);
      } catch (error) {
        model.send({ name, problem: error.message });
      }
    };
    input.addEventListener("change", () => give(input.files[0], input.files[0]?.name).then(() => { input.value = ""; }));
    for (const name of ["dragenter", "dragover"]) {
      label.addEventListener(name, (event) => { event.preventDefault(); event.stopPropagation(); label.classList.add("kit-over"); });
    }
    label.addEventListener("dragleave", () => label.classList.remove("kit-over"));
    label.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      label.classList.remove("kit-over");
      give(event.dataTransfer.files[0], event.dataTransfer.files[0]?.name);
    });

    let recorder = null;
    const ended = () => {
      recorder = null;
      record.textContent = "Record";
      record.setAttribute("aria-pressed", "false");
    };
    record.addEventListener("click", async () => {
      if (recorder) return recorder.stop();
      let stream;
      try {
        if (!navigator.mediaDevices) throw new Error("this page may not use it: open it by https or on localhost");
        stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      } catch (error) {
        return model.send({ name: "", problem: `no microphone: ${error.message || error.name}; choose a file instead` });
      }
      const parts = [];
      recorder = new MediaRecorder(stream);
      recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
      recorder.addEventListener("stop", () => {
        stream.getTracks().forEach((track) => track.stop());
        ended();
        give(new Blob(parts), "recording");
      });
      recorder.start();
      record.textContent = "Stop recording";
      record.setAttribute("aria-pressed", "true");
    });
    return () => recorder?.stop();
  },
};
