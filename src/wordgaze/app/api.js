// Names the address that the page was opened at, instead of the default one. Runs as view.js does.
"use strict";

const text = element.querySelector("pre");
text.textContent = text.textContent.replaceAll("http://127.0.0.1:7860", new URL(".", location.href).href.replace(/\/$/, ""));
