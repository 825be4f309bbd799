// The table of every trial: too long to be in the page's HTML.

const PAGE = 50;
// All else is what a reader looks for first.
const ORDINARY = ["target reached", "target missed", "budget spent", "training complete", "not recorded"];

class Trials {
  constructor(data, filters) {
    this.data = data;
    this.filters = filters;
    this.length = PAGE;
    const order = (one) => (ORDINARY.includes(one.status) ? 1 : 0);
    this.sorted = [...data.trials].sort((a, b) => order(a) - order(b) || a.s - b.s || a.w - b.w
      || (a.study < b.study ? -1 : a.study > b.study ? 1 : a.trial - b.trial));
    this.select = byId("trial-status");
    const counts = new Map();
    for (const one of this.sorted) counts.set(one.status, (counts.get(one.status) ?? 0) + 1);
    this.select.append(element("option", "anything", { value: "" }));
    for (const [status, count] of counts) this.select.append(element("option", `${status} (${count})`, { value: status }));
    this.select.onchange = () => { this.length = PAGE; this.draw(); };
    byId("trial-more").onclick = () => { this.length += 4 * PAGE; this.draw(); };
    byId("times-cells").onchange = (event) => { byId("times-table").dataset.cells = event.target.value; };
  }

  draw() {
    const status = this.select.value;
    const shown = this.sorted.filter((one) => (!status || one.status === status) && this.filters.shows(one));
    document.querySelector("#trial-table tbody").replaceChildren(...shown.slice(0, this.length).map((one) => this.row(one)));
    byId("trial-count").textContent = `${Math.min(this.length, shown.length)} of ${number(shown.length, 9).replace(/\.0+$/, "")} trials.`;
    byId("trial-more").hidden = shown.length <= this.length;
  }

  // The first hyperparameters; the others, of which there may be many, when asked for.
  settings(one) {
    const all = Object.entries(one.hyperparameters ?? {}).map(([key, value]) => `${key}=${short(value)}`);
    const cell = element("td", all.slice(0, 3).join(", "));
    if (all.length > 3) {
      const rest = element("details");
      rest.append(element("summary", `and ${all.length - 3} more`), all.slice(3).join(", "));
      cell.append(rest);
    }
    return cell;
  }

  row(one) {
    const row = element("tr");
    const figure = { class: "figure" };
    const ended = element("td", one.status);
    if (one.message) ended.append(element("br"), element("small", one.message));
    const hash = element("td");
    if (one.log_sha256) hash.append(element("code", one.log_sha256.slice(0, 12), { title: `${one.log_sha256}  ${one.path}` }));
    const where = element("td", this.data.workloads[one.w].name);
    if (one.framework) where.append(element("br"), element("small", one.framework));
    const name = element("td", this.data.submissions[one.s].name);
    const place = element("td", one.study);
    place.append(element("br"), `trial ${one.trial}`);
    row.append(name, where, place, ended, element("td", number(one.time), figure), element("td", number(one.best), figure),
      element("td", one.steps === null ? "–" : one.steps.toLocaleString("en"), figure), element("td", number(one.seconds), figure),
      this.settings(one), hash);
    return row;
  }
}
