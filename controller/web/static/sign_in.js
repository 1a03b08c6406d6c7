/* Says who one is. The token goes to the controller once and is kept nowhere; the cookie that comes back is out of reach. */
const form = document.getElementById("sign-in");
const token = document.getElementById("token");
const failure = document.getElementById("failure");

/* Where the person wanted to go, when that is a page of ours. */
function target() {
  const wanted = new URL(new URLSearchParams(location.search).get("next") ?? "/", location.origin);
  return wanted.origin === location.origin ? wanted.pathname + wanted.search + wanted.hash : "/";
}

const elsewhere = document.getElementById("elsewhere");
if (elsewhere !== null) elsewhere.href = `/login/oidc?next=${encodeURIComponent(target())}`;

async function signIn() {
  const answer = await fetch("/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token: token.value.trim() }),
  });
  if (answer.ok) return;
  const { error, hint } = await answer.json();
  throw new Error(`${error} (${hint})`);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  failure.hidden = true;
  try {
    await signIn();
    location.replace(target());
  } catch (error) {
    failure.textContent = error.message;
    failure.hidden = false;
    token.select();
  }
});
