// Returns how many texts and marks of the page were looked at, and those with less contrast than WCAG 2 AA asks for.
(() => {
  const parts = (color) => (color.match(/[\d.]+/g) || []).map(Number);
  const isClear = (color) => color === "none" || color === "transparent" || parts(color)[3] === 0;
  const light = (color) => {
    const [red, green, blue] = parts(color).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ratio = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = (element) => {
    const box = element.closest(".node");
    if (box) return getComputedStyle(box.querySelector("rect")).fill;
    for (let one = element; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if (!isClear(color)) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const isShown = (element) => element.getClientRects().length > 0;
  const low = [];
  let looked = 0;
  const look = (element, color, least, what) => {
    looked += 1;
    const found = ratio(color, behind(element));
    if (!(found >= least)) low.push({ what, color, behind: behind(element), found });
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const text = texts.currentNode.data.trim();
    if (!text || !isShown(element) || ["title", "STYLE", "SCRIPT"].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    look(element, element instanceof SVGElement ? style.fill : style.color, 4.5, text);
  }
  for (const element of document.querySelectorAll(".mark, .end, .edge .line, .renewal, .node rect")) {
    if (!isShown(element)) continue;
    const style = getComputedStyle(element);
    const stroke = isClear(style.stroke) ? style.fill : style.stroke;
    const isFilled = !isClear(style.fill) && element.matches(".mark, .end");
    const color = isFilled && ratio(style.fill, behind(element)) > 1.5 ? style.fill : stroke;
    look(element.matches(".node rect") ? element.ownerSVGElement : element, color, 3, element.getAttribute("class") || "box");
  }
  return { looked, low };
})()
