// Tables: sorted by their heads, filtered by a text, shown in pages, copied as TSV or CSV.
// A column is {name, text(row), value(row), number}; `value` is what is sorted and copied.

const PAGE = 100;

class Table {
  constructor(place, { caption, columns: heads, rows, open = null, find = false, file = "table" }) {
    Object.assign(this, { place, caption, heads, rows, open, file });
    this.sort = { column: -1, down: false };
    this.search = "";
    this.size = PAGE;
    this.page = 0;
    this.body = el("tbody");
    this.status = el("span", { class: "status", "aria-live": "polite" });
    this.pages = el("span", { class: "pages" });
    this.head = el("tr");
    place.replaceChildren(this.bar(find), this.scroll());
    this.draw();
  }

  bar(find) {
    const copy = (kind, sign) =>
      el(
        "button",
        {
          type: "button",
          title: `Copy all rows shown here, in full precision and base units, as ${kind}`,
          onclick: () => this.copy(kind, sign),
        },
        `Copy ${kind}`,
      );
    const box = find
      ? el("input", {
          type: "search",
          placeholder: "text in any column",
          oninput: () => {
            this.search = box.value.toLowerCase();
            this.page = 0;
            this.draw();
          },
        })
      : null;
    return el(
      "div",
      { class: "bar noprint" },
      box && el("label", {}, el("span", {}, "Find"), box),
      copy("TSV", "\t"),
      copy("CSV", ","),
      this.pages,
      this.status,
    );
  }

  scroll() {
    this.buttons = this.heads.map((column, i) =>
      el("button", { type: "button", onclick: () => this.by(i) }, ...breakable(column.name)),
    );
    this.cells = this.heads.map((column, i) =>
      el("th", { scope: "col", class: column.number ? "number" : null }, this.buttons[i]),
    );
    this.head.replaceChildren(...this.cells);
    const table = el(
      "table",
      {},
      el("caption", {}, this.caption),
      el("thead", {}, this.head),
      this.body,
    );
    return el(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": this.caption },
      table,
    );
  }

  by(column) {
    const down = this.sort.column === column ? !this.sort.down : false;
    this.sort = { column, down };
    this.page = 0;
    this.draw();
  }

  // The rows found, in order.
  found() {
    const kept = this.search
      ? this.rows.filter((row) => this.heads.some((column) => this.has(column, row)))
      : [...this.rows];
    const column = this.heads[this.sort.column];
    if (column)
      kept.sort((a, b) => compare(column.value(a), column.value(b)) * (this.sort.down ? -1 : 1));
    return kept;
  }

  // Whether a cell has what is searched for, as it is shown or as it is.
  has(column, row) {
    const texts = [column.text(row), column.value(row) ?? ""];
    return texts.some((text) => String(text).toLowerCase().includes(this.search));
  }

  draw() {
    const kept = this.found();
    const first = this.page * this.size;
    this.cells.forEach((cell, i) => {
      const on = i === this.sort.column;
      if (on) cell.setAttribute("aria-sort", this.sort.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    this.body.replaceChildren(...kept.slice(first, first + this.size).map((row) => this.row(row)));
    this.status.textContent =
      kept.length === this.rows.length
        ? `${kept.length} rows`
        : `${kept.length} of ${this.rows.length} rows`;
    this.turn(kept.length);
  }

  row(row) {
    return el(
      "tr",
      {},
      ...this.heads.map((column, i) => {
        const text = String(column.text(row));
        const inside =
          i === 0 && this.open
            ? el(
                "button",
                {
                  type: "button",
                  class: "link",
                  title: "Show where its time and joules go",
                  onclick: () => this.open(row),
                },
                text,
              )
            : text;
        const attributes = { class: column.number ? "number" : null };
        return i === 0 && this.open
          ? el("th", { scope: "row", ...attributes }, inside)
          : el("td", attributes, inside);
      }),
    );
  }

  turn(count) {
    const last = Math.max(0, Math.ceil(count / this.size) - 1);
    const go = (text, page) =>
      el(
        "button",
        {
          type: "button",
          disabled: page < 0 || page > last,
          onclick: () => {
            this.page = page;
            this.draw();
          },
        },
        text,
      );
    const size = choice(
      "",
      [
        [String(PAGE), `${PAGE} a page`],
        ["500", "500 a page"],
        ["1000000", "all"],
      ],
      String(this.size),
      (value) => {
        this.size = Number(value);
        this.page = 0;
        this.draw();
      },
    );
    size.querySelector("select").setAttribute("aria-label", "Rows of a page");
    this.pages.replaceChildren(
      ...(count > PAGE
        ? [
            go("Previous", this.page - 1),
            `page ${this.page + 1} of ${last + 1}`,
            go("Next", this.page + 1),
            size,
          ]
        : []),
    );
  }

  lines(sign) {
    const quoted = (value) => {
      const text = Array.isArray(value) ? JSON.stringify(value) : String(value ?? "");
      if (sign === "\t") return text.replace(/[\t\r\n]+/g, " ");
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const head = this.heads.map((column) => quoted(column.raw || column.name));
    const rows = this.found().map((row) => this.heads.map((column) => quoted(column.value(row))));
    return [head, ...rows].map((cells) => cells.join(sign)).join("\n") + "\n";
  }

  async copy(kind, sign) {
    const ok = await copyText(this.lines(sign));
    this.status.textContent = ok
      ? `Copied ${this.found().length} rows as ${kind}`
      : "The browser does not let pages copy";
  }
}

// A name that may be broken after its underscores and dots.
const breakable = (name) =>
  name
    .split(/(?<=[_.])/)
    .flatMap((text) => [text, el("wbr")])
    .slice(0, -1);

function compare(a, b) {
  const none = (value) => value === null || value === undefined;
  if (none(a) || none(b)) return none(a) - none(b);
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el("textarea", { class: "away", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const ok = document.execCommand("copy");
    area.remove();
    return ok;
  }
}

// A column of an input or metric: one unit for all rows, in its head.
function columnOf(name, rows, point = (row) => row) {
  const values = rows.map((row) => valueOf(point(row), name));
  const number = values.every((value) => value === null || typeof value === "number");
  const scale = number ? commonScale(values, unitOf(name)) : null;
  const write = number ? writer(values.map((value) => value && value / scale.factor)) : null;
  return {
    name: number ? titled(name, scale.unit) : name,
    raw: titled(name, unitOf(name)),
    number,
    value: (row) => valueOf(point(row), name),
    text: (row) => {
      const value = valueOf(point(row), name);
      return value === null || !number ? shown(name, value) : write(value / scale.factor);
    },
  };
}

// A column of plain numbers that have a unit.
function numbers(name, unit, rows, value) {
  const values = rows.map(value);
  const scale = commonScale(values, unit);
  const write = writer(
    values.map((each) => each && each / scale.factor),
    unit === "%" ? 2 : 6,
  );
  return {
    name: titled(name, scale.unit),
    raw: titled(name, unit),
    number: true,
    value,
    text: (row) => {
      const found = value(row);
      return found === null || found === undefined ? "–" : write(found / scale.factor);
    },
  };
}

const words = (name, value) => ({ name, value, text: (row) => value(row) ?? "–", number: false });
