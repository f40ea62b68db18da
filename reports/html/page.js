"use strict";
(() => {
  // Numbers come before words; what is missing or failed stays last either way.
  const rank = (cell) => {
    if (cell.dataset.value !== undefined) return 0;
    return cell.matches(".missing, .status") ? 2 : 1;
  };

  const compare = (a, b, sign) => {
    if (rank(a) !== rank(b)) return rank(a) === 2 || rank(b) === 2 ? rank(a) - rank(b) : sign * (rank(a) - rank(b));
    if (rank(a) === 0) return sign * (Number(a.dataset.value) - Number(b.dataset.value));
    return (rank(a) === 1 ? sign : 1) * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
  };

  const makeSortable = (table) => {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const headers = [...table.tHead.rows[0].cells];
    headers.forEach((header, column) => {
      header.firstElementChild.addEventListener("click", () => {
        const next = { none: "ascending", ascending: "descending", descending: "none" }[header.getAttribute("aria-sort")];
        headers.forEach((other) => other.setAttribute("aria-sort", "none"));
        header.setAttribute("aria-sort", next);
        const sign = next === "descending" ? -1 : 1;
        const rows = next === "none" ? original : original.toSorted((a, b) => compare(a.cells[column], b.cells[column], sign));
        body.append(...rows);
      });
    });
  };

  const LOOK = {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12 },
    margin: { l: 60, r: 16, t: 16, b: 48 },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, maxheight: 0.4 },
    hoverlabel: { align: "left" },
  };
  const SETTINGS = {
    responsive: true,
    displaylogo: false,
    showSendToCloud: false,
    plotlyServerURL: "",
    modeBarButtonsToRemove: ["select2d", "lasso2d"],
  };
  // A finger that scrolls the page over a chart must not zoom into it.
  const dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";

  const draw = (figure, drawing) => {
    const layout = { ...LOOK, dragmode, ...figure.layout };
    if (layout.height) drawing.style.height = `${layout.height}px`;
    delete layout.height;
    layout.legend = { ...LOOK.legend, ...figure.layout.legend };
    for (const name of Object.keys(layout)) {
      if (/^[xy]axis/.test(name)) layout[name] = { automargin: true, ...layout[name] };
    }
    Plotly.newPlot(drawing, figure.traces, layout, SETTINGS);
  };

  const makeLogarithmic = (button, drawing) => {
    button.addEventListener("click", () => {
      const pressed = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(pressed));
      const type = pressed ? "log" : "linear";
      Plotly.relayout(drawing, { "xaxis.type": type, "yaxis.type": type, "xaxis.autorange": true, "yaxis.autorange": true });
    });
  };

  const figures = JSON.parse(document.getElementById("figures").textContent);
  const drawings = [];
  for (const [name, figure] of Object.entries(figures)) {
    const place = document.getElementById(name);
    const drawing = place.querySelector(".drawing");
    draw(figure, drawing);
    drawings.push(drawing);
    const button = place.querySelector(".logarithmic");
    if (button) makeLogarithmic(button, drawing);
  }
  document.querySelectorAll("table.sortable").forEach(makeSortable);

  // On paper, charts are as wide as the page, and what is folded is open.
  const PAPER_WIDTH = 680;
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((folded) => { folded.open = true; });
    drawings.forEach((drawing) => Plotly.relayout(drawing, { width: PAPER_WIDTH }));
  });
  addEventListener("afterprint", () => {
    opened.forEach((folded) => { folded.open = false; });
    drawings.forEach((drawing) => Plotly.relayout(drawing, { width: null, autosize: true }));
  });
})();
