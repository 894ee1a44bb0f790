// The graph of layers: fold and unfold modules, zoom, pan. Without it the drawing is complete and its links work.
// Places follow caffe_viz/structure/placing.py: both warp the axes alike.
(() => {
  "use strict";
  const ARROW = 3.5, READABLE = 0.6, SMALLEST = 0.1, LARGEST = 4;

  const numbers = (text) => text.split(" ").map(Number);
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // Spans [start, end, size] -> the increasing function that makes each at least `size` long.
  function axis(spans) {
    const ends = [...new Set(spans.flatMap(([start, end]) => [start, end]))].sort((a, b) => a - b);
    if (!ends.length) return (t) => t;
    const moved = [ends[0]];
    for (let i = 1; i < ends.length; i++) {
      const over = spans.filter(([start, end]) => start <= ends[i - 1] && ends[i] <= end);
      const stretch = Math.max(1, ...over.map(([start, end, size]) => size / (end - start)));
      moved.push(moved[i - 1] + (ends[i] - ends[i - 1]) * stretch);
    }
    const last = ends.length - 1;
    return (t) => {
      if (t <= ends[0]) return t;
      if (t >= ends[last]) return t - ends[last] + moved[last];
      let i = 1;
      while (ends[i] < t) i++;
      return moved[i - 1] + ((moved[i] - moved[i - 1]) * (t - ends[i - 1])) / (ends[i] - ends[i - 1]);
    };
  }

  function path(points) {
    const [x, y] = points[points.length - 1];
    const line = points.map((p) => p.map((v) => v.toFixed(1)).join(" ")).join("L");
    return `M${line}M${x - ARROW} ${y - 2 * ARROW}L${x} ${y}L${x + ARROW} ${y - 2 * ARROW}`;
  }

  function start(figure) {
    const view = figure.querySelector(".cvg-view"), svg = view.querySelector(".cvg-drawing");
    const [wide, high, margin, stem] = numbers(svg.dataset.cells);
    const units = [...svg.querySelectorAll("[data-unit]")].map((group) => {
      const [x, y, width, height] = numbers(group.dataset.unit);
      const unit = { group, x, y, width, height, middle: x + width / 2, bottom: y + height + stem, open: false };
      if (!group.dataset.inside) return unit;
      const [w, h, left] = numbers(group.dataset.inside);
      const [folded, opened] = [".cvg-folded", ".cvg-open"].map((name) => group.querySelector(`:scope > ${name}`));
      return { ...unit, inside: { width: w, height: h, left }, folded, opened, open: !opened.hasAttribute("display") };
    });
    const wires = [...svg.querySelectorAll("[data-wire]")].map((line) => ({
      line, ends: numbers(line.dataset.wire), points: line.dataset.points.split(" ").map((p) => p.split(",").map(Number)),
    }));
    const modules = units.filter((unit) => unit.inside);
    let size = [0, 0], scale = 1;

    function draw() {
      const open = modules.filter((unit) => unit.open);
      const across = axis(open.flatMap(({ x, width, middle, inside }) => [
        [x, middle, inside.left], [middle, x + width, inside.width - inside.left],
      ]));
      const down = axis(open.map(({ y, bottom, inside }) => [y, bottom, inside.height + stem]));
      for (const unit of units) {
        const { height, left } = unit.open ? unit.inside : { height: unit.height, left: unit.width / 2 };
        const x = across(unit.middle) + margin;
        const y = (down(unit.y) + down(unit.bottom) - height - stem) / 2 + margin;
        unit.group.setAttribute("transform", `translate(${(x - left).toFixed(1)} ${y.toFixed(1)})`);
        unit.entry = [x, y];
        unit.exit = [x, y + height + stem];
        if (unit.inside) show(unit);
      }
      for (const { line, ends, points } of wires) {
        const moved = points.map(([x, y]) => [across(x) + margin, down(y) + margin]);
        line.setAttribute("d", path([units[ends[0]].exit, ...moved, units[ends[1]].entry]));
      }
      size = [across(wide) + 2 * margin, down(high) + 2 * margin];
      svg.setAttribute("viewBox", `0 0 ${size[0]} ${size[1]}`);
      zoom(scale);
    }

    function show({ folded, opened, open }) {
      folded.toggleAttribute("display", open);
      opened.toggleAttribute("display", !open);
      for (const part of [folded, opened]) if (part.hasAttribute("display")) part.setAttribute("display", "none");
    }

    // `at`: the place of the screen that stays where it is.
    function zoom(to, at) {
      const box = view.getBoundingClientRect();
      const [x, y] = at ?? [box.left + box.width / 2, box.top + box.height / 2];
      const [left, top] = [x - box.left + view.scrollLeft, y - box.top + view.scrollTop];
      const factor = clamp(to, SMALLEST, LARGEST) / scale;
      scale *= factor;
      svg.setAttribute("width", size[0] * scale);
      svg.setAttribute("height", size[1] * scale);
      view.scrollBy(left * (factor - 1), top * (factor - 1));
    }

    const fitted = (whole) => Math.min(1, view.clientWidth / size[0], whole ? tallest() / size[1] : 1);
    const tallest = () => (parseFloat(getComputedStyle(view).maxHeight) || innerHeight) - 2;

    // Fold or unfold; `kept`, where the reader looks, stays where it is on the screen.
    function turn(some, open, kept) {
      const before = kept?.group.getBoundingClientRect();
      const focused = kept?.group.contains(document.activeElement);
      for (const unit of some) unit.open = open;
      draw();
      if (!kept) return;
      const after = kept.group.getBoundingClientRect();
      view.scrollBy(after.left + after.width / 2 - before.left - before.width / 2, after.top - before.top);
      if (focused) (open ? kept.opened : kept.folded).querySelector(".cvg-toggle").focus({ preventScroll: true });
    }

    for (const unit of modules) {
      for (const [part, open] of [[unit.folded, true], [unit.opened, false]]) {
        const toggle = part.querySelector(".cvg-toggle");
        const name = toggle.querySelector(".cvg-name").textContent;
        const said = { role: "button", tabindex: "0", "aria-expanded": String(!open), "aria-label": `module ${name}` };
        for (const [key, value] of Object.entries(said)) toggle.setAttribute(key, value);
        toggle.addEventListener("click", () => turn([unit], open, unit));
        toggle.addEventListener("keydown", (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          turn([unit], open, unit);
        });
      }
    }

    const tools = figure.querySelector(".cvg-tools");
    const button = (text, label, action) => {
      const made = document.createElement("button");
      made.type = "button";
      made.textContent = text;
      made.title = label;
      if (label !== text) made.setAttribute("aria-label", label);
      made.addEventListener("click", action);
      tools.append(made);
    };
    if (modules.length) {
      button("fold all", "fold all", () => turn(modules, false));
      button("unfold all", "unfold all", () => turn(modules, true));
    }
    button("−", "zoom out (-)", () => zoom(scale / 1.25));
    button("+", "zoom in (+)", () => zoom(scale * 1.25));
    button("fit", "fit into the frame (0)", () => zoom(fitted(true)));

    view.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const to = { "+": scale * 1.25, "=": scale * 1.25, "-": scale / 1.25, 0: fitted(true) }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      zoom(to);
    });
    view.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return; // without it the wheel scrolls, as everywhere
      event.preventDefault();
      zoom(scale * Math.exp(-event.deltaY / 300), [event.clientX, event.clientY]);
    }, { passive: false });
    drag(view);

    view.classList.add("cvg-live");
    draw();
    if (modules.length && fitted(false) < READABLE) turn(modules, false);
    zoom(fitted(false));
    view.scrollLeft = (view.scrollWidth - view.clientWidth) / 2;
  }

  // Dragging with the mouse scrolls; fingers scroll by themselves, and on to the page.
  function drag(view) {
    let from = null, moved = false;
    view.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse" || event.button !== 0) return;
      from = [event.clientX + view.scrollLeft, event.clientY + view.scrollTop];
      moved = false;
    });
    addEventListener("pointermove", (event) => {
      if (!from) return;
      const [left, top] = [from[0] - event.clientX, from[1] - event.clientY];
      if (!moved && Math.hypot(left - view.scrollLeft, top - view.scrollTop) < 5) return;
      moved = true;
      view.classList.add("cvg-dragged");
      view.scrollTo(left, top);
    });
    addEventListener("pointerup", () => {
      from = null;
      view.classList.remove("cvg-dragged");
    });
    view.addEventListener("dragstart", (event) => event.preventDefault());
    view.addEventListener("click", (event) => {
      if (moved) event.preventDefault(), event.stopPropagation();
      moved = false;
    }, true);
  }

  document.querySelectorAll("figure.cvg").forEach(start);
})();
