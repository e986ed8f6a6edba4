// Sends what a form holds to the operation it belongs to and shows the answer below it.
for (const form of document.forms) form.onsubmit = async (event) => {
  event.preventDefault();
  const out = form.querySelector("pre"), body = form.querySelector("textarea");
  const request = { method: form.dataset.method, headers: {} };
  const token = document.querySelector("#token");
  if (token?.value) request.headers.authorization = `Bearer ${token.value}`;
  if (body) { request.headers["content-type"] = "application/json"; request.body = body.value; }
  out.hidden = false;
  out.textContent = "…";
  const start = performance.now();
  try {
    const answer = await fetch(form.dataset.path, request);
    let text = await answer.text();
    try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: shown as it is */ }
    out.textContent = `${answer.status} in ${(performance.now() - start).toFixed(1)} ms\n${text}`;
  } catch (error) {
    out.textContent = String(error);
  }
};
