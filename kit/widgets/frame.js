// The head of a panel, and the three things that ipywidgets cannot do for it: announce a change to a screen
// reader, give the panel a name, and keep typed keys in it. (JupyterLab 4.6 takes the arrow keys of a focused
// menu for itself, and an "x" typed there cuts the cell.)
function keepKeys(event) {
  if (event.target.closest?.(".kit-panel")) event.target.setAttribute("data-lm-suppress-shortcuts", "true");
}

export default {
  render({ model, el }) {
    const parts = {};
    for (const [name, role] of [["title", "heading"], ["about", ""], ["status", "status"], ["alert", "alert"], ["lost", "alert"]]) {
      const part = (parts[name] = document.createElement("div"));
      part.className = `kit-${name}`;
      if (role) part.setAttribute("role", role);
      if (role === "heading") part.setAttribute("aria-level", "3");
      el.append(part);
    }
    parts.lost.textContent =
      "The kernel was restarted, so this panel is no longer connected. Run its cell again; what it last left in the notebook stands below.";
    const show = (name) => { parts[name].textContent = model.get(name); };
    for (const name of ["title", "about", "status", "alert"]) {
      show(name);
      model.on(`change:${name}`, () => show(name));
    }
    const name = () => {
      const panel = el.closest(".kit-panel");
      if (!panel) return requestAnimationFrame(name);
      panel.setAttribute("role", "group");
      panel.setAttribute("aria-label", `${model.get("title")} panel`);
    };
    name();
    document.addEventListener("focusin", keepKeys);
    return () => document.removeEventListener("focusin", keepKeys);
  },
};
