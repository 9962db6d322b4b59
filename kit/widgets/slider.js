// A native range input: unlike an ipywidgets slider it has a name, a unit, and says its value.
export default {
  render({ model, el }) {
    const label = document.createElement("label");
    const name = document.createElement("span");
    const input = Object.assign(document.createElement("input"), { type: "range" });
    const output = document.createElement("span");
    name.className = "kit-name";
    output.className = "kit-value";
    label.append(name, input, output);
    el.classList.add("kit-slider");
    el.append(label);
    const show = () => {
      name.textContent = model.get("label");
      for (const key of ["min", "max", "step", "value"]) input[key] = model.get(key);
      said();
    };
    const said = () => {
      const text = `${Number(input.value).toFixed(model.get("digits"))}${model.get("unit")}`;
      output.textContent = text;
      input.setAttribute("aria-valuetext", text);
    };
    input.addEventListener("input", () => {
      said();
      model.set("value", Number(input.value));
      model.save_changes();
    });
    model.on("change", show);
    show();
  },
};
