// The choice of workloads, frameworks and submissions. It acts on every part of the page but
// changes no score: the board is over all workloads whatever is shown.

class Filters {
  constructor(data, changed) {
    this.data = data;
    this.changed = changed;
    this.groups = [
      { key: "w", title: "Workloads", names: data.workloads.map((one) => one.name) },
      { key: "f", title: "Frameworks", names: data.frameworks },
      { key: "s", title: "Submissions", names: data.submissions.map((one) => one.name) },
    ];
    this.chosen = {};
    for (const group of this.groups) this.chosen[group.key] = new Set(group.names.keys());
    this.framework = new Map(data.frameworks.map((name, index) => [name, index]));
    this.trained = data.submissions.map(() => new Set());
    for (const one of data.trials) this.trained[one.s].add(this.framework.get(one.framework));
    this.build();
  }

  build() {
    const bar = byId("filters");
    for (const group of this.groups) if (group.names.length > 1) bar.append(this.menu(group));
    this.reset = element("button", "Show all", { type: "button", id: "filters-reset" });
    this.reset.onclick = () => this.chooseAll();
    this.count = element("p", "", { class: "note", "aria-live": "polite" });
    bar.append(this.reset, this.count);
    bar.hidden = false;
    document.addEventListener("click", (event) => this.closeMenus(event.target));
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.closeMenus(null));
  }

  menu(group) {
    const menu = element("details", undefined, { "data-group": group.key });
    group.menu = menu;
    group.summary = element("summary", group.title);
    const box = element("fieldset");
    for (const [title, all] of [["All", true], ["None", false]]) {
      const button = element("button", title, { type: "button" });
      button.onclick = () => {
        this.chosen[group.key] = new Set(all ? group.names.keys() : []);
        this.update();
      };
      box.append(button, " ");
    }
    group.boxes = group.names.map((name, index) => {
      const input = element("input", undefined, { type: "checkbox" });
      input.onchange = () => {
        this.chosen[group.key][input.checked ? "add" : "delete"](index);
        this.update();
      };
      const label = element("label");
      label.append(input, ` ${name}`);
      box.append(label);
      return input;
    });
    menu.append(group.summary, box);
    return menu;
  }

  closeMenus(target) {
    for (const { menu } of this.groups) if (menu && !menu.contains(target)) menu.open = false;
  }

  chooseAll() {
    for (const group of this.groups) this.chosen[group.key] = new Set(group.names.keys());
    this.update();
  }

  isAll(key) {
    return this.chosen[key].size === this.groups.find((group) => group.key === key).names.length;
  }

  // Logs that name no framework are shown unless frameworks are chosen.
  hasFramework(name) {
    return this.isAll("f") || this.chosen.f.has(this.framework.get(name));
  }

  showsSubmission(s) {
    return this.chosen.s.has(s) && (this.isAll("f") || [...this.trained[s]].some((f) => this.chosen.f.has(f)));
  }

  // Whether a result, study or trial is shown.
  shows(one) {
    return this.chosen.s.has(one.s) && this.chosen.w.has(one.w) && this.hasFramework(one.framework);
  }

  update() {
    for (const group of this.groups) {
      if (!group.menu) continue;
      const [all, size] = [this.isAll(group.key), this.chosen[group.key].size];
      group.summary.textContent = all ? group.title : `${group.title}: ${size} of ${group.names.length}`;
      group.menu.classList.toggle("active", !all);
      group.boxes.forEach((box, index) => { box.checked = this.chosen[group.key].has(index); });
    }
    const isFiltered = ["w", "f", "s"].some((key) => !this.isAll(key));
    this.reset.hidden = !isFiltered;
    this.count.textContent = isFiltered ? "Filters choose what is shown; scores and ranks stay." : "";
    for (const part of document.querySelectorAll("main [data-s], main [data-w]")) {
      const { s, w, f } = part.dataset;
      const isElsewhere = f !== undefined && !this.isAll("f") && !this.chosen.f.has(Number(f));
      part.hidden = (s !== undefined && !this.showsSubmission(Number(s)))
        || (w !== undefined && !this.chosen.w.has(Number(w)))
        || (isElsewhere && part.tagName !== "TD");
      // A cell keeps its place in the table.
      part.classList.toggle("elsewhere", isElsewhere);
    }
    this.showScores();
    this.changed();
  }

  // The mean of the credits of what is shown, where that is not all.
  showScores() {
    const isPart = !this.isAll("w") || !this.isAll("f");
    const base = this.data.workloads.flatMap((one, w) => (one.role === "base" && this.chosen.w.has(w) ? [w] : []));
    const sums = this.data.submissions.map(() => 0);
    for (const one of this.data.results) if (base.includes(one.w) && this.shows(one)) sums[one.s] += one.credit;
    for (const cell of document.querySelectorAll(".shown-score")) {
      cell.hidden = !isPart;
      if (cell.tagName !== "TD") continue;
      const sum = sums[Number(cell.parentElement.dataset.s)];
      cell.textContent = base.length ? (sum / base.length).toFixed(4) : "–";
    }
    byId("shown-note").hidden = !isPart;
    byId("shown-note").textContent = `Score on what is shown: the mean of what the submission earns on the ${base.length} `
      + "workloads that are shown, with the chosen frameworks. It does not decide the ranks.";
  }
}
