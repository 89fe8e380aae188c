/* Material copies what a block shows. Of one with prompts the commands are wanted, not the prompts, and not what the
   commands printed. This listener comes before Material's, which takes such an attribute first, where there is one. */
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-clipboard-target]");
  const code = button && document.querySelector(button.dataset.clipboardTarget);
  if (code?.querySelector(".gp")) {
    const lines = code.textContent.split("\n");
    button.dataset.clipboardText = lines.filter((line) => line.startsWith("$ ")).map((line) => line.slice(2)).join("\n");
  }
}, true);
