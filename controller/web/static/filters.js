/* A form that narrows a page: its fields become what stands after the question mark. */

const fill = (form) => {
  const url = new URL(location.pathname, location.origin);
  for (const [name, value] of new FormData(form)) if (value.trim()) url.searchParams.set(name, value.trim());
  return url;
};

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-filters]");
  if (!form) return;
  event.preventDefault();
  location.assign(fill(form));
});

document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-filters]");
  if (form && event.target.matches("select")) location.assign(fill(form));
});
