// The example pictures as buttons, and whom they are from. Runs as view.js does; titles and addresses are set as text
// and as properties, never as HTML.
"use strict";

const gallery = element.querySelector(".wg-gallery"), credit = element.querySelector(".wg-credit");

function show() {
  const { items = [], licence } = props.value || {};
  gallery.replaceChildren(...items.map(({ title, picture }, index) => {
    const button = Object.assign(document.createElement("button"), { type: "button", title });
    button.append(Object.assign(new Image(), { src: picture, alt: title }));
    button.onclick = () => trigger("choose", { index });
    return button;
  }));
  const sources = items.filter(({ source }) => source);
  credit.replaceChildren();
  if (!sources.length) return;
  credit.append("Photographs from Flickr: ");
  sources.forEach(({ title, source }, i) => credit.append(i ? ", " : "", link(source, title.split(": ").at(-1))));
  credit.append("; made smaller; ", link(licence.address, licence.name), ".");
}

function link(href, text) {
  const anchor = Object.assign(document.createElement("a"), { href, target: "_blank", rel: "noopener noreferrer" });
  anchor.textContent = text;
  return anchor;
}

watch("value", show);
show();
