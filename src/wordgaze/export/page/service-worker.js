// Keeps all files of the page, so that it works offline. The export fills in VERSION and FILES.

const VERSION = "__VERSION__";
const FILES = ["__FILES__"];
const PREFIX = `wordgaze ${self.registration.scope} `;

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(PREFIX + VERSION).then((cache) => cache.addAll(FILES)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const outdated = (name) => name.startsWith(PREFIX) && name !== PREFIX + VERSION;
  const cleaned = caches.keys().then((names) => Promise.all(names.filter(outdated).map((name) => caches.delete(name))));
  event.waitUntil(cleaned.then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET" || new URL(event.request.url).origin !== self.location.origin) return;
  const wanted = event.request.url.replace(/\/index\.html(?=[?#]|$)/, "/"); // the page is kept by the name of its folder
  const cached = caches.open(PREFIX + VERSION).then((cache) => cache.match(wanted, { ignoreSearch: true }));
  event.respondWith(cached.then((response) => response ?? fetch(event.request)));
});
