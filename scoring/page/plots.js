// The three plots. A submission hidden in a legend is hidden in all of them.

const INK = {
  light: { text: "#1b1e23", faint: "#5c6470", line: "#d9dce1", band: "#f4f5f7", back: "#ffffff" },
  dark: { text: "#e6e8eb", faint: "#a0a8b2", line: "#363c45", band: "#1f242a", back: "#14171b" },
};
const CONFIG = {
  displaylogo: false,
  responsive: true,
  modeBarButtons: [["toImage"]],
};

// Round values for a logarithmic axis between powers of ten: more of them the shorter it is.
function ticks(low, high) {
  const steps = [[1], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 8]][high - low > 3 ? 0 : high - low > 1 ? 1 : 2];
  const found = [];
  for (let power = Math.floor(low); power <= high; power += 1) {
    for (const step of steps) {
      const value = Number((step * 10 ** power).toPrecision(3));
      if (Math.log10(value) >= low && Math.log10(value) <= high) found.push(value);
    }
  }
  return found;
}

class Plots {
  constructor(data, filters) {
    this.data = data;
    this.filters = filters;
    this.hidden = new Set();
    this.isPrinting = false;
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.touch = matchMedia("(pointer: coarse)");
    const select = byId("curve-workload");
    data.workloads.forEach((one, w) => select.append(element("option", one.name, { value: w })));
    for (const id of ["curve-workload", "curve-axis", "curve-trials", "curve-scale"]) {
      byId(id).onchange = () => this.drawCurves();
    }
    byId("times-axis").onchange = () => this.drawTimes();
    this.dark.addEventListener("change", () => this.draw());
    // Print is light and as wide as the paper.
    addEventListener("beforeprint", () => this.print(true));
    addEventListener("afterprint", () => this.print(false));
  }

  get theme() {
    return this.dark.matches && !this.isPrinting ? "dark" : "light";
  }

  print(isPrinting) {
    this.isPrinting = isPrinting;
    if (isPrinting) this.closed = [...document.querySelectorAll("main details:not([open], #trial-table *)")];
    for (const part of this.closed) part.open = isPrinting;
    this.draw();
  }

  draw() {
    this.drawLegends();
    this.drawPlots();
  }

  drawPlots() {
    this.drawProfiles();
    this.drawTimes();
    this.drawCurves();
  }

  visible() {
    const all = [...this.data.submissions.keys()];
    return all.filter((s) => this.filters.showsSubmission(s) && !this.hidden.has(s));
  }

  drawLegends() {
    const shown = [...this.data.submissions.keys()].filter((s) => this.filters.showsSubmission(s));
    for (const legend of document.querySelectorAll(".legend")) {
      legend.replaceChildren(...shown.map((s) => {
        const button = element("button", undefined, { type: "button", "data-legend": s });
        button.append(swatch(s, this.theme), this.data.submissions[s].name);
        button.onclick = (event) => this.toggle(s, event.detail > 1, shown);
        button.onmouseenter = () => this.emphasise(s);
        button.onmouseleave = () => this.emphasise(null);
        return button;
      }));
    }
    for (const part of document.querySelectorAll("main .swatch")) {
      part.replaceChildren(swatch(Number(part.closest("[data-s]").dataset.s), this.theme));
    }
    this.markHidden();
  }

  markHidden() {
    for (const button of document.querySelectorAll("[data-legend]")) {
      button.setAttribute("aria-pressed", !this.hidden.has(Number(button.dataset.legend)));
    }
  }

  // One click hides or shows; the second of two leaves that one alone, or shows all again.
  toggle(s, isSecond, shown) {
    if (isSecond) {
      const wasAlone = shown.every((one) => (one === s) !== this.before.has(one));
      this.hidden = new Set(wasAlone ? [] : shown.filter((one) => one !== s));
    } else {
      this.before = new Set(this.hidden);
      if (!this.hidden.delete(s)) this.hidden.add(s);
    }
    this.markHidden();
    this.drawPlots();
  }

  emphasise(s) {
    for (const id of ["profile-plot", "times-plot", "curve-plot"]) {
      const traces = byId(id).data ?? [];
      if (!traces.length) continue;
      const opacities = traces.map((one) => (s === null || one.meta === s ? one.customopacity ?? 1 : 0.12));
      Plotly.restyle(id, { opacity: opacities });
    }
  }

  layout(height, more) {
    const ink = INK[this.theme];
    const axis = { gridcolor: ink.line, linecolor: ink.faint, zeroline: false, fixedrange: this.touch.matches, automargin: true };
    const font = { family: getComputedStyle(document.body).fontFamily, size: this.isPrinting ? 10 : 12, color: ink.text };
    const layout = {
      height, font, showlegend: false, hovermode: "closest", dragmode: this.touch.matches ? false : "zoom",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 48, r: 16, t: 28, b: 44 },
      hoverlabel: { bgcolor: ink.back, bordercolor: ink.faint, font: { ...font, size: 12 }, align: "left", namelength: -1 },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: ink.faint, activecolor: ink.text },
      ...more,
      xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis },
    };
    if (this.isPrinting) layout.width = 1000;
    return layout;
  }

  show(id, traces, layout) {
    const config = { ...CONFIG, displayModeBar: this.touch.matches ? false : "hover" };
    return Plotly.react(id, traces, layout, config);
  }

  // The profile of the document where all is shown, else that of the shown part by its ratios.
  profile(s) {
    const { filters, data } = this;
    if (filters.isAll("w") && filters.isAll("f")) {
      return { tau: data.profiles.tau, share: data.profiles.share[data.submissions[s].name] };
    }
    const isBase = (w) => data.workloads[w].role === "base" && filters.chosen.w.has(w);
    const count = data.workloads.filter((_, w) => isBase(w)).length;
    const ratios = data.results
      .filter((one) => one.s === s && isBase(one.w) && filters.shows(one) && one.ratio !== null)
      .map((one) => one.ratio);
    const tau = [...new Set([1, ...ratios.filter((one) => one <= data.maxRatio), data.maxRatio])].sort((a, b) => a - b);
    return { tau, share: tau.map((t) => ratios.filter((one) => one <= t).length / Math.max(1, count)) };
  }

  drawProfiles() {
    const traces = this.visible().map((s) => {
      const { tau, share } = this.profile(s);
      const kept = [...tau.keys()].filter((i) => i === 0 || i === tau.length - 1 || share[i] !== share[i - 1]);
      const { colour, dash, marker } = look(s, this.theme);
      return {
        meta: s, mode: "lines+markers", x: kept.map((i) => tau[i]), y: kept.map((i) => share[i]), cliponaxis: false,
        line: { shape: "hv", color: colour, dash, width: 2 },
        marker: { symbol: marker, size: 8, color: colour, line: { width: 1.5, color: colour } },
        text: kept.map(() => plain(this.data.submissions[s].name)),
        hovertemplate: "%{text}<br>τ = %{x:.3f}: %{y:.1%} of the workloads<extra></extra>",
      };
    });
    this.show("profile-plot", traces, this.layout(this.isPrinting ? 380 : 440, {
      xaxis: { title: { text: "τ, times as long as the fastest" }, range: [1, this.data.maxRatio * 1.01] },
      yaxis: { title: { text: "share of the workloads" }, range: [-0.02, 1.03], tickformat: ".0%" },
    }));
  }

  // A band for each workload: studies small, their median large, and a column for those without.
  drawTimes() {
    const { data, filters } = this;
    const isRatio = byId("times-axis").value === "ratio";
    const shown = [...data.workloads.keys()].filter((w) => filters.chosen.w.has(w));
    const submissions = this.visible();
    const best = data.workloads.map((_, w) => {
      const timed = data.results.filter((one) => one.w === w && one.time > 0);
      const earning = timed.filter((one) => !one.filtered);  // as in the table's ratios
      return Math.min(...(earning.length ? earning : timed).map((one) => one.time));
    });
    const value = (one) => (one.time > 0 ? (isRatio ? one.time / best[one.w] : one.time) : null);
    const isShown = (one) => filters.shows(one) && submissions.includes(one.s);
    const values = [...data.results.filter(isShown), ...data.studies.filter((one) => submissions.includes(one.s) && filters.chosen.w.has(one.w))].map(value).filter(Boolean);
    const [low, high] = values.length ? [Math.log10(Math.min(...values)), Math.log10(Math.max(...values))] : [0, 1];
    const span = Math.max(high - low, 0.1);
    const missing = 10 ** (high + 0.12 * span);
    const y = (w, s) => shown.indexOf(w) + 0.32 + (0.6 * (submissions.indexOf(s) + 0.5)) / submissions.length;
    const traces = submissions.flatMap((s) => this.timesOf(s, { y, value, missing, isShown, isRatio }));
    const ink = INK[this.theme];
    const shapes = shown.flatMap((_, i) => (i % 2 ? [{ type: "rect", xref: "paper", x0: 0, x1: 1, y0: i, y1: i + 1, fillcolor: ink.band, line: { width: 0 }, layer: "below" }] : []));
    shapes.push({ type: "line", yref: "paper", x0: missing * 10 ** (-0.06 * span), x1: missing * 10 ** (-0.06 * span), y0: 0, y1: 1, line: { color: ink.line, width: 1 } });
    const titles = shown.map((w, i) => ({ xref: "paper", x: 0, xanchor: "left", y: i + 0.16, text: plain(data.workloads[w].name), showarrow: false, font: { size: 12 } }));
    titles.push({ x: Math.log10(missing), y: 0, yshift: -10, text: "none", showarrow: false, font: { size: 11, color: ink.faint } });
    const height = 70 + shown.length * Math.max(52, 24 + submissions.length * 5);
    const axis = ticks(low - 0.04 * span, high);
    this.show("times-plot", traces, this.layout(this.isPrinting ? Math.min(height, 540) : height, {
      shapes, annotations: titles,
      margin: { l: 8, r: 16, t: 60, b: 12 },
      xaxis: { type: "log", side: "top", title: { text: isRatio ? "times as long as the fastest" : "submission time, s" }, range: [low - 0.04 * span, high + 0.18 * span], tickvals: axis, ticktext: axis.map((one) => String(one)) },
      yaxis: { range: [Math.max(1, shown.length), 0], showticklabels: false, showgrid: false, fixedrange: true },
    }));
  }

  timesOf(s, { y, value, missing, isShown, isRatio }) {
    const { colour, marker } = look(s, this.theme);
    const name = plain(this.data.submissions[s].name);
    const results = this.data.results.filter((one) => one.s === s && isShown(one) && one.trials_run);
    const cells = new Set(results.map((one) => one.w));
    const studies = this.data.studies.filter((one) => one.s === s && cells.has(one.w) && one.time !== null);
    const texts = results.map((one) => `${name}<br>${plain(this.data.workloads[one.w].name)}<br>`
      + (one.time === null ? "target not met" : `${number(one.time)} s${isRatio ? `, ${number(value(one), 3)} times the fastest` : ""}`)
      + `<br>studies ${one.studies_reached} of ${one.studies_run}, trials ${one.trials_reached} of ${one.trials_run}`
      + (one.filtered ? `<br>${plain(one.filtered)}` : ""));
    const common = { meta: s, mode: "markers", hovertemplate: "%{text}<extra></extra>" };
    return [
      { ...common, x: studies.map(value), y: studies.map((one) => y(one.w, s)), customopacity: 0.4, opacity: 0.4,
        text: studies.map((one) => `${name}<br>${plain(one.study)}: ${number(one.time)} s`),
        marker: { symbol: "line-ns", size: 7, color: colour, line: { width: 1.5, color: colour } } },
      { ...common, x: results.map((one) => value(one) ?? missing), y: results.map((one) => y(one.w, s)), text: texts,
        marker: { symbol: marker, size: 8, color: colour, line: { width: 1.5, color: colour } } },
    ];
  }

  drawCurves() {
    const { data, filters } = this;
    const select = byId("curve-workload");
    for (const option of select.options) option.hidden = option.disabled = !filters.chosen.w.has(Number(option.value));
    if (select.selectedOptions[0]?.disabled !== false) select.value = [...filters.chosen.w].sort((a, b) => a - b)[0] ?? "";
    const w = select.value === "" ? -1 : Number(select.value);
    const workload = data.workloads[w];
    const axis = Number(byId("curve-axis").value);
    const isLog = byId("curve-scale").value === "log";
    const onlyCounting = byId("curve-trials").value === "counts";
    const submissions = new Set(this.visible());
    const trials = data.trials.filter((one) => one.w === w && one.curve && submissions.has(one.s)
      && filters.shows(one) && (!onlyCounting || one.counts));
    const traces = [...submissions].flatMap((s) => this.curvesOf(trials.filter((one) => one.s === s), s, axis, workload));
    const target = workload && { type: "line", xref: "paper", x0: 0, x1: 1, y0: workload.target, y1: workload.target, line: { color: INK[this.theme].text, width: 1.5, dash: "dash" } };
    const isHighLast = workload && !workload.minimize;
    this.show("curve-plot", traces, this.layout(this.isPrinting ? 380 : 460, {
      shapes: target ? [target] : [],
      annotations: target ? [{ xref: "paper", x: 0, xanchor: "left", y: isLog ? Math.log10(workload.target) : workload.target, yanchor: isHighLast ? "bottom" : "top", text: `target: ${plain(workload.goal)}`, showarrow: false, bgcolor: INK[this.theme].back, opacity: 0.85 }] : [],
      xaxis: { title: { text: axis ? "step" : "submission time, s" }, rangemode: "tozero" },
      yaxis: { title: { text: workload ? `validation ${plain(workload.metric)}` : "" }, type: isLog ? "log" : "linear", range: workload && this.valueRange(trials, workload, isLog), autorange: !trials.length },
    }));
  }

  // Without the few values far off, such as those of the first evaluation or of a diverging trial.
  valueRange(trials, workload, isLog) {
    const finite = trials.flatMap((one) => one.curve[2]).filter((v) => v !== null && (!isLog || v > 0)).sort((a, b) => a - b);
    if (!finite.length) return undefined;
    const at = (share) => finite[Math.round(share * (finite.length - 1))];
    const ends = workload.minimize ? [finite[0], at(0.95)] : [at(0.05), finite[finite.length - 1]];
    const scaled = [Math.min(ends[0], workload.target), Math.max(ends[1], workload.target)].map((v) => (isLog ? Math.log10(v) : v));
    const pad = 0.05 * (scaled[1] - scaled[0]) || 0.01;
    return [scaled[0] - pad, scaled[1] + pad];
  }

  // One line with gaps for all trials of a submission: hundreds of traces would be slow.
  curvesOf(trials, s, axis, workload) {
    const { colour, dash, marker } = look(s, this.theme);
    const line = { x: [], y: [], text: [] };
    const hits = { x: [], y: [], text: [] };
    for (const one of trials) {
      const about = this.about(one);
      const [xs, ys] = [one.curve[axis], one.curve[2]];
      line.x.push(...xs, null);
      line.y.push(...ys, null);
      for (let i = 0; i <= xs.length; i += 1) line.text.push(about);
      const hit = one.time === null ? -1 : ys.findIndex((v) => v !== null && (workload.minimize ? v <= workload.target : v >= workload.target));
      if (hit < 0) continue;
      hits.x.push(xs[hit]);
      hits.y.push(ys[hit]);
      hits.text.push(about);
    }
    const common = { meta: s, hovertemplate: `%{text}<br>${axis ? "step %{x:,}" : "%{x:,.5~g} s"}: %{y:.5~g}<extra></extra>` };
    return [
      { ...common, ...line, mode: "lines", customopacity: 0.75, opacity: 0.75, line: { color: colour, dash, width: 1.2 } },
      { ...common, ...hits, mode: "markers", marker: { symbol: marker, size: 8, color: colour, line: { width: 1.5, color: colour } } },
    ];
  }

  about(one) {
    const parts = Object.entries(one.hyperparameters ?? {}).map(([key, value]) => `${key} ${short(value)}`);
    const lines = [this.data.submissions[one.s].name, `${one.study}, trial ${one.trial}, ${one.status}`];
    for (let i = 0; i < parts.length; i += 3) lines.push(parts.slice(i, i + 3).join(", "));
    return lines.map(plain).join("<br>");
  }
}
