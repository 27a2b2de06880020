// The filter, the table of all points, and what starts it all.

const NONE = "";

function showFilter() {
  const place = document.querySelector("#filter .controls");
  const able = varied.filter((name) => data.axes[name].length > 1);
  const one = (name) => {
    const options = [
      [NONE, "all"],
      ...data.axes[name].map((value, i) => [String(i), shown(name, value)]),
    ];
    return choice(name, options, NONE, (chosen) =>
      setFilter(name, chosen === NONE ? null : [data.axes[name][Number(chosen)]]),
    );
  };
  const reset = el(
    "button",
    {
      type: "button",
      onclick: () => {
        place.querySelectorAll("select").forEach((select) => {
          select.value = NONE;
        });
        filter.clear();
        listeners.forEach((listener) => listener());
      },
    },
    "Show all",
  );
  place.replaceChildren(...able.map(one), reset);
  const count = document.querySelector("#filter .count");
  const tell = () => {
    const set = [...filter].map(
      ([name, values]) => `${name} ${values.map((value) => shown(name, value)).join(", ")}`,
    );
    count.textContent = `${visible().length} of ${points.length} points${set.length ? `: ${set.join("; ")}` : ""}`;
  };
  onFilter(tell);
  tell();
}

function showPoints() {
  const place = document.querySelector("#points .table");
  const draw = () => {
    const rows = visible();
    const odd = rows.some((point) => point.status !== "ok");
    const named = {
      name: "point",
      value: (row) => row.key,
      text: (row) => row.key.slice(0, 8),
      number: false,
    };
    const front = data.objectives.length ? [words("front", (row) => (row.front ? "★" : ""))] : [];
    const state = odd
      ? [words("status", (row) => row.status), words("reason", (row) => row.reason)]
      : [];
    const rest = data.inputs
      .map((each) => each.name)
      .filter(
        (name) =>
          !varied.includes(name) &&
          rows.some((row) => !same(valueOf(row, name), valueOf(rows[0], name))),
      );
    new Table(place, {
      caption: "Every point; units are in the heads",
      rows,
      open: openPoint,
      find: true,
      columns: [
        named,
        ...front,
        ...[...varied, ...rest, ...metrics.keys()].map((name) => columnOf(name, rows)),
        ...state,
      ],
    });
  };
  onFilter(draw);
  draw();
}

// An open breakdown is printed alone, which a modal one cannot be.
function reopen(how) {
  const dialog = document.getElementById("point");
  if (!dialog.open) return;
  dialog.close();
  dialog[how]();
}

function start() {
  for (const show of [
    showFilter,
    showPareto,
    showRoofline,
    showStacks,
    showParallel,
    showTornado,
    showChips,
    showPoints,
  ])
    show();
  document
    .getElementById("close")
    .addEventListener("click", () => document.getElementById("point").close());
  darkness.addEventListener("change", redraw);
  printing.addEventListener("change", redraw);
  window.addEventListener("beforeprint", () => reopen("show"));
  window.addEventListener("afterprint", () => reopen("showModal"));
  let waiting = 0;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(redraw, 150);
  });
  document.documentElement.dataset.ready = "yes"; // for tests
}

// The library is compressed in the page; it runs only if it is the one the page was made with.
async function library() {
  const packed = document.getElementById("plotly");
  if (!packed) return;
  const bytes = Uint8Array.from(atob(packed.textContent), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  packed.remove();
}

library()
  .catch(() => {
    document.getElementById("no-charts").hidden = false;
  })
  .then(() => {
    document.body.classList.toggle("charts", Boolean(window.Plotly));
    start();
  });
