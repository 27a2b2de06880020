// Charts: one frame for all of them. Without Plotly there are none, and tables say it all.

const charts = new Map(); // element -> what draws it
const MOST_POINTS = 5000; // of a chart; beyond, the browser is slow

const plain = (text) =>
  String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function ink() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return {
    text: of("--text"),
    muted: of("--muted"),
    line: of("--line"),
    back: of("--back"),
    panel: of("--panel"),
    accent: of("--accent"),
  };
}

// Draw into an element; `make` gives {traces, layout, click}. Drawn again for other colours or sizes.
function chart(place, make) {
  if (!window.Plotly) return;
  charts.set(place, make);
  const { traces, layout, click, selected, cleared } = make();
  const size = {
    width: printing.matches
      ? PRINT_WIDTH
      : Math.max(place.clientWidth || 900, layout.least || LEAST_WIDTH),
  };
  const drawn = window.Plotly.react(place, traces, { ...framed(layout), ...size }, CONFIG);
  place.removeAllListeners?.("plotly_click");
  if (click) place.on("plotly_click", (event) => click(event.points[0]));
  if (selected)
    (place.removeAllListeners?.("plotly_selected"),
      place.on("plotly_selected", (event) => event && selected(event)));
  if (cleared)
    (place.removeAllListeners?.("plotly_doubleclick"), place.on("plotly_doubleclick", cleared));
  return drawn;
}

const LEAST_WIDTH = 560; // narrower windows scroll
const PRINT_WIDTH = 690; // of an A4 page with its margins, in CSS pixels
const CONFIG = {
  displaylogo: false,
  displayModeBar: "hover",
  modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d", "sendChartToCloud"],
  toImageButtonOptions: { format: "svg", filename: "chart" },
};

const redraw = () =>
  charts.forEach((make, place) => {
    if (place.isConnected) chart(place, make);
  });

function framed(layout) {
  const color = ink();
  const axis = {
    zeroline: false,
    gridcolor: color.line,
    zerolinecolor: color.line,
    linecolor: color.muted,
    tickcolor: color.muted,
    automargin: true,
    exponentformat: "none",
  };
  const styled = Object.fromEntries(
    Object.entries(layout)
      .filter(([name]) => /^[xy]axis/.test(name))
      .map(([name, given]) => [
        name,
        {
          ...axis,
          ...given,
          title: { text: given.title || "", standoff: 10, font: { size: 13.5 } },
        },
      ]),
  );
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: {
      family: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
      size: 13,
      color: color.text,
    },
    margin: { l: 20, r: 16, t: 12, b: 20 },
    hoverlabel: {
      align: "left",
      bgcolor: color.panel,
      bordercolor: color.muted,
      font: { color: color.text, size: 12.5 },
    },
    legend: {
      orientation: "h",
      y: 1.02,
      yanchor: "bottom",
      x: 0,
      xanchor: "left",
      title: { side: "left" },
      itemsizing: "constant",
    },
    hovermode: "closest",
    dragmode: "zoom",
    ...layout,
    ...styled,
    least: undefined,
  };
}

// An axis with a mark at each power of ten times these.
function logarithmic(factors, text = digits) {
  const values = Array.from({ length: 44 }, (_, i) => i - 22).flatMap((ten) =>
    factors.map((factor) => Number(`${factor}e${ten}`)),
  );
  return { type: "log", tickmode: "array", tickvals: values, ticktext: values.map(text) };
}

// What hovering shows of a point: its inputs, then its metrics.
function hover(point, extra = []) {
  const line = (name) => `${plain(name)}: <b>${plain(shown(name, valueOf(point, name)))}</b>`;
  const rest = extra.map(([name, text]) => `${plain(name)}: <b>${plain(text)}</b>`);
  const state =
    point.status === "ok" ? [] : [`<i>${plain(point.status)}: ${plain(point.reason)}</i>`];
  return [...varied.map(line), "", ...[...metrics.keys()].map(line), ...rest, ...state].join(
    "<br>",
  );
}

// The points of a chart: all, or the front and every so many of the rest.
function thinned(list) {
  if (list.length <= MOST_POINTS) return list;
  const step = Math.ceil(list.length / MOST_POINTS);
  return list.filter((point, i) => point.front || i % step === 0);
}

const thinnedNote = (list) =>
  list.length > MOST_POINTS
    ? ` The chart draws the front and one in ${Math.ceil(list.length / MOST_POINTS)} of ${list.length} points; the table has all.`
    : "";

// One trace of markers for each value of the axis that colours.
function scatter(list, name, x, y, extra = () => []) {
  return groupsBy(name).map((group) => {
    const members = list.filter((point) => inGroup(point, name, group));
    return {
      type: "scatter",
      mode: "markers",
      name: plain(group.text),
      showlegend: group.value !== null,
      x: members.map(x),
      y: members.map(y),
      customdata: members.map((point) => point.i),
      text: members.map((point) => hover(point, extra(point))),
      hovertemplate: "%{text}<extra></extra>",
      marker: {
        color: group.color,
        symbol: group.symbol,
        size: 9,
        line: { width: 0.8, color: ink().back },
      },
    };
  });
}

const opens = (event) => {
  if (event.customdata !== undefined && event.customdata !== null)
    openPoint(points[event.customdata]);
};
const colorChoices = () => [
  ["", "nothing"],
  ...varied.filter((name) => data.axes[name].length > 1),
];
const defaultColor = () =>
  varied.filter((name) => data.axes[name].length > 1).sort((a, b) => rank(a) - rank(b))[0] || "";
const rank = (name) =>
  (["chip", "model", "weights"].includes(name) ? 0 : 1) + data.axes[name].length / 1000;

// A part of the page: its controls, figure and table.
function part(id) {
  const section = document.getElementById(id);
  const find = (name) => section.querySelector(`.${name}`);
  return {
    section,
    controls: find("controls"),
    figure: find("chart"),
    caption: section.querySelector("figcaption"),
    table: find("table"),
  };
}
