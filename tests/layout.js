// What is wrong with the layout of the page that is open: lists of texts, empty where all is well.
(() => {
  const all = [...document.body.querySelectorAll("*")];
  const name = e => `${e.tagName} ${e.getAttribute("class") ?? ""}: ${e.textContent.trim().slice(0, 60)}`;
  const overflow = e => getComputedStyle(e).overflowX;

  // Beyond the right edge of the screen, and not within an element that scrolls or cuts it off.
  const held = e => {
    for (let up = e.parentElement; up && up !== document.body; up = up.parentElement)
      if (overflow(up) !== "visible") return true;
    return false;
  };
  const outside = all.filter(e => {
    const box = e.getBoundingClientRect();
    return box.width && box.right > innerWidth + 1 && box.left < innerWidth
      && getComputedStyle(e).position !== "fixed" && !held(e);
  }).map(name);

  // Sideways scrolling: code, tables, figures and formulas may.
  const may = "pre, table, figure, dt, .highlight, .cell_output, mjx-container, .math, .scroll";
  const scrolling = all.filter(e =>
    e.clientWidth && e.scrollWidth > e.clientWidth + 1 && ["auto", "scroll"].includes(overflow(e))
    && !e.closest(may) && !e.matches(":has(> table, > svg, > pre)")
  ).map(name);

  const textless = all.filter(e =>
    e.matches("img, svg[role=img]:not([aria-hidden])") && e.getBoundingClientRect().width
    && !(e.getAttribute("alt") || e.getAttribute("aria-label") || e.querySelector("title"))
  ).map(e => e.outerHTML.slice(0, 120));

  // Words with less contrast to their ground than WCAG 2 asks for at level AA.
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = color => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map(v => v / 255);
  };
  const over = (top, below) => below.map((v, i) => top[i] * top[3] + v * (1 - top[3]));
  const luminance = color => {
    const [r, g, b] = color.map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const canvasOfBrowser = matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0] : [1, 1, 1];
  const grounds = new Map([[null, canvasOfBrowser]]);
  const ground = e => {
    if (!grounds.has(e))
      grounds.set(e, over(rgba(getComputedStyle(e).backgroundColor), ground(e.parentElement)));
    return grounds.get(e);
  };
  const faint = new Set();
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = words.nextNode());) {
    const e = node.parentElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
    const shown = node.data.trim() && box.width && box.right > 0 && box.left < innerWidth
      && style.visibility !== "hidden";
    if (!shown || e.closest("svg, script, style, noscript, button")) continue;
    const behind = ground(e), lights = [behind, over(rgba(style.color), behind)].map(luminance);
    const ratio = (Math.max(...lights) + .05) / (Math.min(...lights) + .05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.5 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) faint.add(`contrast ${ratio.toFixed(1)} of ${name(e)}`);
  }

  const sideways = document.documentElement.scrollWidth > innerWidth ? ["the page scrolls"] : [];
  return [...sideways, ...outside, ...scrolling, ...textless, ...faint];
})()
