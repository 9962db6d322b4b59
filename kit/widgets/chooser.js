// A piece of HTML or SVG in which the elements marked data-choice can be chosen, by mouse or keyboard.
export default {
  render({ model, el }) {
    const show = () => {
      const held = el.contains(document.activeElement) ? document.activeElement.dataset.choice : undefined;
      el.innerHTML = model.get("html");
      if (held !== undefined) el.querySelector(`[data-choice="${CSS.escape(held)}"]`)?.focus();
    };
    const choose = (event) => {
      const chosen = event.target.closest("[data-choice]");
      if (chosen) model.send({ choice: chosen.dataset.choice });
      return chosen;
    };
    el.addEventListener("click", choose);
    el.addEventListener("keydown", (event) => {
      if (event.target.tagName === "BUTTON" || !["Enter", " "].includes(event.key)) return;
      if (choose(event)) event.preventDefault();
    });
    model.on("change:html", show);
    show();
  },
};
