// A sheet to draw on, by pointer or keyboard. Python gets its pixels (one byte each, ink 255) while one draws.
const SCALE = 10;

export default {
  render({ model, el }) {
    const [width, height] = [model.get("width"), model.get("height")];
    const canvas = Object.assign(document.createElement("canvas"), { width: width * SCALE, height: height * SCALE, tabIndex: 0 });
    canvas.className = "kit-sheet";
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-roledescription", "drawing sheet");
    const said = () => canvas.setAttribute("aria-label",
      `Drawing sheet, pen at column ${pen.x + 1}, row ${pen.y + 1}. Arrow keys move, Space draws on or off, Delete clears.`);
    const pen = { x: width >> 1, y: height >> 1, down: false };
    const sheet = canvas.getContext("2d", { willReadFrequently: true });
    const ink = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
    const small = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    for (const context of [ink]) Object.assign(context, { lineCap: "round", lineJoin: "round", lineWidth: SCALE * 2, strokeStyle: "#fff" });

    const paint = () => {
      sheet.fillStyle = "#fff";
      sheet.fillRect(0, 0, canvas.width, canvas.height);
      sheet.globalCompositeOperation = "difference"; // white ink becomes black on the white sheet
      sheet.drawImage(ink.canvas, 0, 0);
      sheet.globalCompositeOperation = "source-over";
      if (document.activeElement === canvas) {
        sheet.strokeStyle = pen.down ? "#d55e00" : "#0072b2";
        sheet.lineWidth = 2;
        sheet.strokeRect(pen.x * SCALE, pen.y * SCALE, SCALE, SCALE);
      }
    };
    let last = 0;
    const send = (now) => {
      if (!now && performance.now() - last < 150) return;
      last = performance.now();
      small.clearRect(0, 0, width, height);
      small.imageSmoothingQuality = "high";
      small.drawImage(ink.canvas, 0, 0, width, height);
      const pixels = small.getImageData(0, 0, width, height).data;
      const bytes = Uint8Array.from({ length: width * height }, (_, i) => pixels[4 * i + 3]);
      model.send({}, undefined, [bytes.buffer]); // a trait of bytes would be sent once: Backbone takes all DataViews for equal
    };
    const line = (from, to) => {
      ink.beginPath();
      ink.moveTo(from.x, from.y);
      ink.lineTo(to.x + 0.01, to.y);
      ink.stroke();
      paint();
    };
    const clear = () => {
      ink.clearRect(0, 0, canvas.width, canvas.height);
      paint();
      send(true);
    };
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return { x: ((event.clientX - box.left) / box.width) * canvas.width, y: ((event.clientY - box.top) / box.height) * canvas.height };
    };

    let at;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      at = place(event);
      line(at, at);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!at) return;
      const next = place(event);
      line(at, next);
      at = next;
      send(false);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, () => {
        if (at) send(true);
        at = undefined;
      });
    }
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      const centre = () => ({ x: (pen.x + 0.5) * SCALE, y: (pen.y + 0.5) * SCALE });
      if (event.key in moves) {
        const from = centre();
        pen.x = Math.min(width - 1, Math.max(0, pen.x + moves[event.key][0]));
        pen.y = Math.min(height - 1, Math.max(0, pen.y + moves[event.key][1]));
        if (pen.down) { line(from, centre()); send(false); }
      } else if (event.key === " ") {
        pen.down = !pen.down;
        if (pen.down) line(centre(), centre());
        send(true);
      } else if (event.key === "Delete" || event.key === "Backspace") clear();
      else return;
      event.preventDefault();
      said();
      paint();
    });
    for (const name of ["focus", "blur"]) canvas.addEventListener(name, paint);
    model.on("msg:custom", (message) => message === "clear" && clear());
    said();
    paint();
    el.append(canvas);
  },
};
