// Choose, drop, paste or take a photo. It is made small here, in the browser: a message of more than 10 MB, as
// a camera makes them, would end the connection to the kernel without a word.
const LARGEST = 1024;
const AS_IT_IS = 4_000_000;

async function smaller(file) {
  if (file.size === 0) throw new Error("the file is empty (0 bytes); choose another one");
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    if (file.size <= AS_IT_IS) return file.arrayBuffer(); // perhaps Python can read it
    throw new Error(`${file.name} is no picture that this browser can read; PNG and JPEG are safe`);
  }
  const factor = Math.min(1, LARGEST / Math.max(image.width, image.height));
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(image.width * factor)), Math.max(1, Math.round(image.height * factor)));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  image.close();
  const blob = await canvas.convertToBlob({ type: "image/png" });
  return blob.arrayBuffer();
}

export default {
  render({ model, el }) {
    const label = document.createElement("label");
    label.className = "kit-drop";
    const text = Object.assign(document.createElement("span"), { textContent: "Choose or take a photo, or drop one here" });
    const input = Object.assign(document.createElement("input"), { type: "file", accept: "image/*" });
    label.append(text, input);
    el.append(label);
    const give = async (file) => {
      if (!file) return;
      try {
        model.send({ name: file.name, problem: "" }, undefined, [await smaller(file)]);
      } catch (error) {
        model.send({ name: file.name, problem: error.message });
      }
    };
    input.addEventListener("change", () => give(input.files[0]).then(() => { input.value = ""; }));
    for (const name of ["dragenter", "dragover"]) {
      label.addEventListener(name, (event) => { event.preventDefault(); event.stopPropagation(); label.classList.add("kit-over"); });
    }
    label.addEventListener("dragleave", () => label.classList.remove("kit-over"));
    label.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      label.classList.remove("kit-over");
      give(event.dataTransfer.files[0]);
    });
  },
};
