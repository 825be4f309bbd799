async function main() {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("this browser is too old for the plots (it has no DecompressionStream)");
  }
  const data = JSON.parse(await unpacked("data"));
  for (const part of document.querySelectorAll(".script-only")) part.hidden = false;
  let draw = () => {};
  const filters = new Filters(data, () => draw());
  const trials = new Trials(data, filters);
  trials.draw();
  // The policy of the page admits this script by its hash.
  const library = document.createElement("script");
  library.textContent = await unpacked("plotly");
  document.head.append(library);
  const plots = new Plots(data, filters);
  draw = () => { trials.draw(); plots.draw(); };
  filters.update();
  document.documentElement.dataset.ready = "yes";
}

main().catch((error) => {
  byId("failure").textContent = `The plots cannot be shown: ${error.message}.`;
  byId("failure").hidden = false;
  console.error(error);
});
