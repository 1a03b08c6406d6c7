"use strict";

/* Loaded before anything is drawn, so that a page never flashes in the other colours. */
const THEMES = ["system", "dark", "light"];

function rememberedTheme() {
  try {
    const kept = localStorage.getItem("fleetmend.theme");
    return THEMES.includes(kept) ? kept : "system";
  } catch {
    return "system";
  }
}

function applyTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const button = document.getElementById("theme");
  if (!button) return;
  const said = `Colours: ${theme === "system" ? "as the system" : theme}`;
  button.title = `${said} (t)`;
  button.setAttribute("aria-label", said);
  button.firstElementChild.textContent = { system: "◐", dark: "☾", light: "☀" }[theme];
}

function nextTheme() {
  const theme = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  applyTheme(theme);
  try {
    localStorage.setItem("fleetmend.theme", theme);
  } catch {
    /* A browser that keeps nothing shows the theme on this page alone. */
  }
  dispatchEvent(new Event("fleetmend:theme"));
}

applyTheme(rememberedTheme());
addEventListener("DOMContentLoaded", () => {
  applyTheme(rememberedTheme());
  document.getElementById("theme")?.addEventListener("click", nextTheme);
});
addEventListener("storage", (event) => {
  if (event.key === "fleetmend.theme") applyTheme(rememberedTheme());
});
