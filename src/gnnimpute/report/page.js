"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const places = new Uint16Array(bytes(data.places).buffer);
  const groups = new Uint16Array(bytes(data.groups).buffer);
  const select = document.getElementById("gene");
  const told = document.getElementById("told");
  const canvases = ["before", "after"].map((name) => document.getElementById(name));
  // From light to dark, as in the other pictures: readable without colours.
  const stops = [[254, 232, 56], [188, 174, 108], [124, 123, 120], [66, 78, 108], [0, 34, 78]];
  const shade = (value) => {
    const at = (value / 255) * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2), part = at - low;
    return `rgb(${stops[low].map((one, i) => Math.round(one + part * (stops[low + 1][i] - one))).join()})`;
  };
  let values = [];
  let places2d = [];
  const draw = () => {
    const gene = data.genes[select.selectedIndex];
    values = [bytes(gene.before), bytes(gene.after)];
    canvases.forEach((canvas, which) => {
      const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
      canvas.width = width * ratio;
      canvas.height = height * ratio;
      const pen = canvas.getContext("2d");
      pen.scale(ratio, ratio);
      places2d = Array.from({ length: data.n }, (_, i) => [
        6 + (places[2 * i] / 65535) * (width - 12), height - 6 - (places[2 * i + 1] / 65535) * (height - 12)]);
      const order = Array.from({ length: data.n }, (_, i) => i).sort((a, b) => values[which][a] - values[which][b]);
      for (const i of order) {
        pen.fillStyle = shade(values[which][i]);
        pen.fillRect(places2d[i][0] - 1.5, places2d[i][1] - 1.5, 3, 3);
      }
    });
  };
  const say = (event) => {
    const box = event.target.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    let best = -1, least = 144;
    places2d.forEach(([a, b], i) => {
      const far = (a - x) ** 2 + (b - y) ** 2;
      if (far < least) { least = far; best = i; }
    });
    if (best < 0) return;
    const gene = data.genes[select.selectedIndex];
    const value = (which) => Math.expm1((values[which][best] / 255) * gene.most).toFixed(2);
    told.textContent = `${data.cells[best]}, ${data.names[groups[best]]}: ${gene.name} ${value(0)} in counts, ${value(1)} imputed`;
  };
  data.genes.forEach((gene) => select.add(new Option(gene.name)));
  document.getElementById("chooser").hidden = false;
  select.addEventListener("change", draw);
  window.addEventListener("resize", draw);
  canvases.forEach((canvas) => ["mousemove", "click"].forEach((kind) => canvas.addEventListener(kind, say)));
  draw();
})();
