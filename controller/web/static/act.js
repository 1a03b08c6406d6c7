/* What a person does: a button opens the dialog that asks why, and the controller's refusal is said where it was asked. */
import { live, refresh } from "./live.js";

const dialog = document.getElementById("act");
const because = document.getElementById("act-because");
const failure = document.getElementById("act-failure");
const confirmButton = document.getElementById("act-do");
let asked = null;

function ask(button) {
  asked = { url: button.dataset.url, body: JSON.parse(button.dataset.body) };
  document.getElementById("act-title").textContent = button.dataset.title;
  document.getElementById("act-text").textContent = button.dataset.text;
  confirmButton.textContent = button.textContent;
  because.value = "";
  failure.hidden = true;
  confirmButton.hidden = false;
  document.getElementById("act-cancel").textContent = "Cancel";
  dialog.showModal();
}

async function act() {
  const answer = await fetch(asked.url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...asked.body, because: because.value }),
  });
  const said = await answer.json();
  if (answer.ok) return said;
  const { error, hint } = said;
  throw new Error(`${error} (${hint})`);
}

/* Others have to say yes: the person reads that instead of wondering why nothing happened. */
function sayItWaits(text) {
  document.getElementById("act-text").textContent = `${text} It is on the page Budgets until then.`;
  confirmButton.hidden = true;
  document.getElementById("act-cancel").textContent = "Close";
}

/* Where a page or a ticket leads: its link opens the dialog and does nothing. What cannot be done now, it shows why. */
const LED_TO = { acknowledge: "acknowledge", approve: "approve", stop: "abort", undo: "uncordon" };

function askWhatTheLinkMeans() {
  const verb = LED_TO[location.hash.slice(1)];
  const button = verb && live.querySelector(`.crown button[data-act="${verb}"]`);
  if (button && !dialog.open) ask(button);
  const why = verb && !button && document.getElementById("cannot");
  if (!why) return;
  why.open = true;
  why.querySelector("summary").focus();
}

export function offerActs() {
  askWhatTheLinkMeans();
  addEventListener("hashchange", askWhatTheLinkMeans);
  live.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-act]");
    if (button) ask(button);
  });
  document.getElementById("act-cancel").addEventListener("click", () => dialog.close());
  dialog.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    confirmButton.disabled = true;
    try {
      const { text, proposal_id: waits } = await act();
      await refresh();
      if (waits) sayItWaits(text);
      else dialog.close();
    } catch (error) {
      failure.textContent = error.message;
      failure.hidden = false;
    } finally {
      confirmButton.disabled = false;
    }
  });
}
