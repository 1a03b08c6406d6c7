/* Who is signed in, where the controller asks people who they are. */

export function signIn() {
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`);
}

export async function offerAccount() {
  const account = document.getElementById("account");
  if (account === null) return;
  document.getElementById("sign-out").addEventListener("click", async () => {
    await fetch("/logout", { method: "POST" });
    location.assign("/login");
  });
  const answer = await fetch("/api/v1/me");
  if (!answer.ok) return;
  const { name, roles, may } = await answer.json();
  document.documentElement.dataset.may = may.join(" ");
  account.textContent = name;
  account.title = `Roles: ${roles.join(", ")}`;
}
