(() => {
  const button = document.getElementById("theme"), root = document.documentElement, modes = ["auto", "light", "dark"];
  let at = 0;
  const show = () => {
    at ? root.setAttribute("data-theme", modes[at]) : root.removeAttribute("data-theme");
    button.textContent = "Theme: " + modes[at];
  };
  button.hidden = false;
  button.addEventListener("click", () => { at = (at + 1) % modes.length; show(); });
})();

// A press on a column's title sorts: first the better end on top, then the other. What has no value stays below.
(() => {
  const valueOf = (row, column) => {
    const cell = row.cells[column], number = cell.dataset.value ?? cell.textContent.trim();
    return number === "" || Number.isNaN(Number(number)) ? null : Number(number);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (!head.dataset.sort) return;
      const button = document.createElement("button"), words = head.dataset.sort === "words";
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const better = head.dataset.sort === "up" ? "descending" : "ascending";
        const other = better === "descending" ? "ascending" : "descending";
        const order = head.getAttribute("aria-sort") === better ? other : better, sign = order === "ascending" ? 1 : -1;
        heads.forEach((one) => one.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", order);
        const rows = [...table.tBodies[0].rows].map((row) => [row, valueOf(row, column)]);
        rows.sort(([a, x], [b, y]) => {
          if (words) return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent);
          return x === null || y === null ? (x === null) - (y === null) : sign * (x - y);
        });
        table.tBodies[0].append(...rows.map(([row]) => row));
      });
    });
  }
})();

// What is picked in one table or chart stands out in all of them.
(() => {
  const keyed = [...document.querySelectorAll("[data-key]")], picks = [...document.querySelectorAll("[data-pick]")];
  const picked = new Set(keyed.filter((one) => one.classList.contains("picked")).map((one) => one.dataset.key));
  const show = () => {
    for (const one of keyed) {
      one.classList.toggle("picked", picked.has(one.dataset.key));
      if (one.namespaceURI.endsWith("svg") && picked.has(one.dataset.key)) one.parentNode.append(one);
    }
    for (const one of picks) {
      if (one.dataset.pick) one.setAttribute("aria-pressed", picked.has(one.dataset.pick));
      else one.hidden = picked.size === 0;
    }
  };
  for (const one of picks) {
    one.addEventListener("click", () => {
      const key = one.dataset.pick;
      if (!key) picked.clear();
      else if (!picked.delete(key)) picked.add(key);
      show();
    });
  }
  show();
})();

// Of a choice one part is shown; choices with the same label go together.
(() => {
  const choices = [...document.querySelectorAll("[data-choice]")];
  const show = (choice, name) => {
    const options = [...choice.children].filter((part) => "option" in part.dataset);
    if (!options.some((part) => part.dataset.option === name)) return;
    choice.querySelector("select").value = name;
    options.forEach((part) => { part.hidden = part.dataset.option !== name; });
  };
  for (const choice of choices) {
    const label = choice.querySelector("label"), select = label.querySelector("select");
    choice.classList.add("chosen");
    label.hidden = false;
    show(choice, select.value);
    select.addEventListener("change", () => {
      choices.filter((one) => one.dataset.choice === choice.dataset.choice).forEach((one) => show(one, select.value));
    });
  }
})();

// In a matrix the arrow keys go from cell to cell; the cell that is reached or pointed at is told below.
(() => {
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  for (const table of document.querySelectorAll("table[data-grid]")) {
    const told = table.closest(".matrix").querySelector(".told"), rows = [...table.tBodies[0].rows];
    const cells = rows.map((row) => [...row.cells].filter((cell) => cell.tagName === "TD"));
    const tell = (cell) => { if (cell) told.textContent = cell.title; };
    told.hidden = false;
    told.textContent = "Point at a cell, or go there with the arrow keys: it is told here.";
    const under = (event) => event.target.closest("tbody td");
    table.addEventListener("mouseover", (event) => tell(under(event)));
    table.addEventListener("focusin", (event) => tell(under(event)));
    table.addEventListener("keydown", (event) => {
      const step = steps[event.key], at = under(event);
      if (!step || !at) return;
      event.preventDefault();
      const i = cells.findIndex((row) => row.includes(at)), next = cells[i + step[0]]?.[cells[i].indexOf(at) + step[1]];
      if (!next) return;
      at.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }
})();
