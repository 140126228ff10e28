// Drag over the picture to see a part of it, double-click to see the whole again.
(() => {
  const picture = document.querySelector("svg");
  const plot = document.getElementById("plot");
  const axis = document.getElementById("axis");
  const { left, width, top, bottom, seconds } = Object.fromEntries(
    Object.entries(picture.dataset).map(([name, value]) => [name, Number(value)]),
  );
  const NEAR = 4; // From this magnification on single runs are shown.
  let from = 0;
  let to = width;
  let anchor = null;
  const choice = add(picture, "rect", { class: "choice", y: top, height: bottom - top, width: 0 });

  function add(parent, tag, attributes, text = "") {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    return parent.appendChild(element);
  }

  function place(event) {
    const point = new DOMPoint(event.clientX, event.clientY);
    const x = point.matrixTransform(picture.getScreenCTM().inverse()).x - left;
    return Math.min(width, Math.max(0, x));
  }

  function step(atLeast) {
    const decade = 10 ** Math.floor(Math.log10(atLeast));
    return [1, 2, 5, 10].map((factor) => factor * decade).find((size) => size >= atLeast * 0.999);
  }

  function label() {
    const perPixel = seconds / width;
    const size = step(((to - from) * perPixel) / 11);
    const digits = Math.max(0, -Math.floor(Math.log10(size)));
    axis.replaceChildren();
    for (let n = Math.ceil((from * perPixel) / size); n * size <= to * perPixel; n += 1) {
      const x = left + ((n * size) / perPixel - from) * (width / (to - from));
      add(axis, "line", { x1: x, x2: x, y1: top, y2: bottom, class: "grid line-stroke" });
      const text = `${(n * size).toFixed(digits)} s`;
      add(axis, "text", { x, y: bottom + 15, class: "small muted middle" }, text);
    }
  }

  function show(first, last) {
    [from, to] = [first, last];
    plot.setAttribute("viewBox", `${from} 0 ${to - from} ${plot.getAttribute("height")}`);
    picture.classList.toggle("near", width / (to - from) >= NEAR);
    label();
  }

  function choose(event) {
    const here = place(event);
    choice.setAttribute("x", left + Math.min(anchor, here));
    choice.setAttribute("width", Math.abs(here - anchor));
  }

  plot.addEventListener("pointerdown", (event) => {
    anchor = place(event);
    plot.setPointerCapture(event.pointerId);
  });
  plot.addEventListener("pointermove", (event) => anchor !== null && choose(event));
  plot.addEventListener("pointerup", (event) => {
    const ends = [anchor, place(event)].sort((a, b) => a - b);
    anchor = null;
    choice.setAttribute("width", 0);
    const moment = (x) => from + (x / width) * (to - from);
    const [first, last] = ends.map(moment);
    if (ends[1] - ends[0] > 4 && last - first > width / 10000) show(first, last);
  });
  plot.addEventListener("pointercancel", () => {
    anchor = null;
    choice.setAttribute("width", 0);
  });
  plot.addEventListener("dblclick", () => show(0, width));
})();
