"use strict";
for (const map of document.querySelectorAll(".map")) {
  const plane = map.querySelector(".plane"), svg = map.querySelector("svg");
  const tip = map.querySelector(".tip"), ring = map.querySelector(".ring");
  const dots = [...svg.querySelectorAll("circle[data-text]")];
  const buttons = [...map.querySelectorAll("button")];
  const names = buttons.map((button) => button.textContent.trim());
  let only = null;

  function hide() {
    tip.hidden = true;
    ring.setAttribute("cx", -99);
  }
  // The nearest dot within a finger's width; dots alone are too small to be met.
  function show(event) {
    const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
    const x = (event.clientX - box.left) / scale, y = (event.clientY - box.top) / scale;
    let best = null, nearest = (14 / scale) ** 2;
    for (const dot of dots) {
      if (only !== null && dot.dataset.group !== only) continue;
      const distance = (dot.cx.baseVal.value - x) ** 2 + (dot.cy.baseVal.value - y) ** 2;
      if (distance <= nearest) [best, nearest] = [dot, distance];
    }
    if (!best) return hide();
    const left = best.cx.baseVal.value * scale, top = best.cy.baseVal.value * scale;
    ring.setAttribute("cx", best.cx.baseVal.value);
    ring.setAttribute("cy", best.cy.baseVal.value);
    tip.querySelector("strong").textContent = names[best.dataset.group] ?? "";
    tip.querySelector("span").textContent = best.dataset.text;
    tip.hidden = false;
    tip.style.left = Math.max(0, Math.min(left - tip.offsetWidth / 2, box.width - tip.offsetWidth)) + "px";
    tip.style.top = (top > tip.offsetHeight + 16 ? top - tip.offsetHeight - 14 : top + 14) + "px";
  }
  plane.addEventListener("pointermove", show);
  plane.addEventListener("pointerdown", show);
  // A finger leaves as soon as it is lifted: what it asked for stays until it asks for more.
  plane.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());

  for (const button of buttons) {
    button.addEventListener("click", () => {
      only = only === button.dataset.group ? null : button.dataset.group;
      hide();
      for (const other of buttons) other.setAttribute("aria-pressed", String(other.dataset.group === only));
      for (const dot of dots) dot.classList.toggle("dim", only !== null && dot.dataset.group !== only);
    });
  }
}
