
"use strict";
(() => {
  // Text comes from what was recorded: it is set as text, never as markup.
  const ROW = 20, LEAST = 1.5, LABEL = 28;
  const byId = (id) => document.getElementById(id);
  const graph = byId("graph"), tip = byId("tip"), search = byId("search"), reset = byId("reset"), found = byId("found");
  const { frames, nodes } = JSON.parse(byId("data").textContent);
  const count = nodes.length / 3;
  const parent = new Int32Array(count), depth = new Int32Array(count), end = new Int32Array(count);
  const total = new Float64Array(count), begin = new Float64Array(count);
  const matches = new Uint8Array(frames.length);
  let zoomed = 0, term = "";

  const frameOf = (node) => nodes[3 * node];
  const own = (node) => nodes[3 * node + 2];
  const number = (value) => value.toLocaleString("en-US");
  const share = (value, of) => `${((100 * value) / (of || 1)).toFixed(2)} %`;
  const events = (value) => `${number(value)} ${value === 1 ? "event" : "events"}`;
  const nameOf = (node) => (node ? frames[frameOf(node)][0] || "?" : "all events");
  const fileOf = (node) => (node ? frames[frameOf(node)][1] : "");

  function arrange() {
    const open = []; // callers, with the callees that are still to come
    for (let node = 0; node < count; node++) {
      while (open.length && open[open.length - 1][1] === 0) open.pop();
      if (open.length) {
        const caller = open[open.length - 1];
        caller[1]--;
        parent[node] = caller[0];
        depth[node] = depth[caller[0]] + 1;
      }
      open.push([node, nodes[3 * node + 1]]);
    }
    for (let node = count - 1; node >= 0; node--) {
      end[node] = Math.max(end[node], node + 1);
      total[node] += own(node);
      if (node) {
        total[parent[node]] += total[node];
        end[parent[node]] = Math.max(end[parent[node]], end[node]);
      }
    }
    const next = new Float64Array(count);
    for (let node = 1; node < count; node++) {
      begin[node] = begin[parent[node]] + next[parent[node]];
      next[parent[node]] += total[node];
    }
  }

  function hue(node) {
    const [name, file, kind] = frames[frameOf(node)];
    let hash = 0;
    for (const char of file || name) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
    return kind === "library" ? 195 + (hash % 45) : 12 + (hash % 46);
  }

  function bar(node, left, width, pixels, isAbove) {
    const element = document.createElement("div");
    const kind = node ? frames[frameOf(node)][2] : "note";
    element.className = `bar ${kind}`;
    element.dataset.node = node;
    element.style.left = `${left * 100}%`;
    element.style.width = `${width * 100}%`;
    element.style.top = `${depth[node] * ROW}px`;
    if (kind === "code" || kind === "library") element.style.setProperty("--hue", hue(node));
    if (isAbove) element.classList.add("above");
    if (term && node && matches[frameOf(node)]) element.classList.add("found");
    if (pixels >= LABEL) {
      const file = fileOf(node).split("/").pop();
      element.textContent = file ? `${nameOf(node)} (${file})` : nameOf(node);
      element.tabIndex = 0;
    } else {
      element.classList.add("thin");
    }
    return element;
  }

  function draw() {
    const pixels = graph.clientWidth, whole = total[zoomed] || 1, drawn = document.createDocumentFragment();
    let deepest = depth[zoomed];
    for (let node = zoomed; node; ) {
      node = parent[node];
      drawn.append(bar(node, 0, 1, pixels, true));
    }
    for (let node = zoomed; node < end[zoomed]; ) {
      const width = node === zoomed ? 1 : total[node] / whole;
      if (width * pixels < LEAST) {
        node = end[node];
        continue;
      }
      drawn.append(bar(node, (begin[node] - begin[zoomed]) / whole, width, width * pixels, false));
      deepest = Math.max(deepest, depth[node]);
      node++;
    }
    graph.replaceChildren(drawn);
    graph.style.height = `${(deepest + 1) * ROW}px`;
    reset.hidden = zoomed === 0;
    tell();
  }

  function tell() {
    let sum = 0;
    for (let node = zoomed; term && node < end[zoomed]; ) {
      const isFound = node && matches[frameOf(node)];
      sum += isFound ? total[node] : 0;
      node = isFound ? end[node] : node + 1;
    }
    found.textContent = term ? `${events(sum)}, ${share(sum, total[zoomed])}` : "";
  }

  function zoom(node) {
    zoomed = node;
    tip.hidden = true;
    draw();
  }

  function look() {
    term = search.value.toLowerCase();
    frames.forEach(([name, file], at) => {
      matches[at] = term && `${name} (${file})`.toLowerCase().includes(term) ? 1 : 0;
    });
    draw();
  }

  function nodeAt(event) {
    const element = event.target.closest(".bar");
    return element ? Number(element.dataset.node) : -1;
  }

  function point(event) {
    const node = nodeAt(event);
    tip.hidden = node < 0;
    if (node < 0) return;
    const name = document.createElement("b");
    name.textContent = nameOf(node);
    const lines = [fileOf(node), `${events(total[node])}, ${share(total[node], total[0])} of all`];
    if (zoomed) lines[1] += `, ${share(total[node], total[zoomed])} of what is shown`;
    if (node && own(node) && own(node) !== total[node]) lines.push(`${number(own(node))} raised right here`);
    tip.replaceChildren(name, lines.filter(Boolean).join("\n"));
    const { innerWidth, innerHeight } = window;
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8))}px`;
    const below = event.clientY + 18;
    const fits = below + tip.offsetHeight < innerHeight;
    tip.style.top = `${fits ? below : Math.max(4, event.clientY - tip.offsetHeight - 12)}px`;
  }

  arrange();
  draw();
  graph.addEventListener("click", (event) => nodeAt(event) >= 0 && zoom(nodeAt(event)));
  graph.addEventListener("mousemove", point);
  graph.addEventListener("mouseleave", () => (tip.hidden = true));
  reset.addEventListener("click", () => zoom(0));
  search.addEventListener("input", look);
  window.addEventListener("resize", draw);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      search.value = "";
      zoomed = 0;
      look();
    } else if (event.key === "Enter" && nodeAt(event) >= 0) {
      zoom(nodeAt(event));
    } else if (event.key === "/" && event.target !== search) {
      event.preventDefault();
      search.focus();
    }
  });
})();
