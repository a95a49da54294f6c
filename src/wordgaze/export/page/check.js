// What keeps the page from starting is told by this script, which runs where modules do not.
(function () {
  var problem = document.getElementById("problem");
  var sentence = "";
  if (location.protocol === "file:") {
    sentence = "A page on the disk may not load its models. Start a server in this folder, for example with " +
      "“python -m http.server 8000”, and open http://localhost:8000.";
  } else if (!("noModule" in document.createElement("script")) || typeof DecompressionStream === "undefined" || typeof createImageBitmap === "undefined") {
    sentence = "This browser is too old for the page. Use a current version of Firefox, Chrome, Edge or Safari.";
  }
  if (sentence) {
    problem.textContent = sentence;
    problem.hidden = false;
    document.getElementById("choose").hidden = true;
    document.getElementById("settings").hidden = true;
    window.wordgazeCannotStart = true;
  }
})();
