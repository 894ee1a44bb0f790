"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);

  // The image whose activations are shown.
  const choice = one("#image-choice");
  const choose = () => all("[data-image]").forEach((part) => { part.hidden = part.dataset.image !== choice.value; });
  if (choice) {
    choice.addEventListener("change", choose);
    choose();
  }

  // How strongly maps cover their image.
  const strength = one("#strength");
  const cover = () => document.documentElement.style.setProperty("--strength", strength.value / 100);
  if (strength) {
    strength.addEventListener("input", cover);
    cover(); // browsers keep the value of a page that is loaded again
  }

  // Kernels over time.
  all(".film").forEach((film) => {
    const slider = one("input", film), frames = all(".frame", film), moment = one("output", film);
    const show = () => {
      frames.forEach((frame, number) => { frame.hidden = number !== Number(slider.value); });
      moment.textContent = frames[slider.value].dataset.moment;
      slider.setAttribute("aria-valuetext", `iteration ${moment.textContent}`);
    };
    slider.addEventListener("input", show);
    show();
  });

  // On paper, which files the page is of is worth a line.
  window.addEventListener("beforeprint", () => { one("details").open = true; });

  // The layer table.
  const table = one("#layer-table"), body = table.tBodies[0], rows = [...body.rows];
  const collator = new Intl.Collator("en", { numeric: true });
  const value = (row, column) => {
    const cell = row.cells[column];
    return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent.trim();
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (a === "" || b === "") return (a === "") - (b === ""); // what is empty comes last
    return collator.compare(String(a), String(b));
  };
  all("th", table).forEach((head, column) => one("button", head).addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    all("th", table).forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const order = rows.map((row) => [value(row, column), row]);
    order.sort(([a], [b]) => (down && a !== "" && b !== "" ? compare(b, a) : compare(a, b)));
    body.append(...order.map(([, row]) => row));
  }));
  const search = one("#search"), found = one("#found");
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      count += !row.hidden;
    }
    found.textContent = words.length ? `${count} of ${rows.length} layers` : "";
  };
  search.addEventListener("input", filter);
  if (search.value) filter();

  // Large pictures.
  const dialog = one("#large"), canvas = one(".canvas", dialog), save = one(".save", dialog), words = one("p", dialog);
  let current = null;
  const pictures = () => all(".zoom").filter((button) => button.offsetParent !== null);
  const show = (button) => {
    current = button;
    const figure = button.closest("figure"), shown = button.firstElementChild.cloneNode(true);
    const images = shown.matches("img") ? [shown] : all("img", shown);
    const last = images[images.length - 1];
    images.forEach((image) => {
      image.loading = "eager";
      image.classList.toggle("pixels", Number(image.getAttribute("height")) < 480);
    });
    shown.style.setProperty("--ratio", `${last.getAttribute("width")} / ${last.getAttribute("height")}`);
    canvas.replaceChildren(shown);
    const caption = one("figcaption", figure);
    const where = button.closest("article, section").querySelector("h2, h3");
    words.textContent = [where && where.textContent.trim(), caption && caption.innerText.replace(/\s+/g, " ").trim()].filter(Boolean).join(" – ");
    save.href = last.src;
    save.download = button.dataset.save;
  };
  const step = (by) => {
    const every = pictures(), next = every[every.indexOf(current) + by];
    if (next) show(next);
  };
  all(".zoom").forEach((button) => button.addEventListener("click", () => {
    show(button);
    dialog.showModal();
  }));
  all("[data-step]", dialog).forEach((button) => button.addEventListener("click", () => step(Number(button.dataset.step))));
  one("[data-close]", dialog).addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") step(1);
    else if (event.key === "ArrowLeft") step(-1);
    else return;
    event.preventDefault();
  });
  dialog.addEventListener("close", () => {
    canvas.replaceChildren();
    if (current) {
      current.focus();
      current.scrollIntoView({ block: "nearest" });
    }
  });
})();
