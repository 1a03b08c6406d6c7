/* Starts a drill from a node's page: says what came of it beside the button, or why it was refused. */
import { live, refresh } from "./live.js";

async function start(form) {
  const { fault, device, repair } = Object.fromEntries(new FormData(form));
  const parameters = device.trim() ? { repair, device: device.trim() } : { repair };
  const answer = await fetch("/api/v1/drills", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ node: form.dataset.node, fault, parameters }),
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(`${said.error} (${said.hint})`);
  return said.because;
}

export function offerDrills() {
  live.addEventListener("submit", async (event) => {
    const form = event.target.closest("#drill");
    if (!form) return;
    event.preventDefault();
    const [said, button] = [form.querySelector(".said"), form.querySelector("button")];
    button.disabled = true;
    said.classList.remove("failure");
    said.textContent = "Asked; the node answers within seconds.";
    try {
      said.textContent = await start(form);
      await refresh();
    } catch (error) {
      said.textContent = error.message;
      said.classList.add("failure");
    } finally {
      button.disabled = false;
    }
  });
}
