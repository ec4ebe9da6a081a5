// Buttons choose cards; a card's own button plays its videos together, from the start.
for (const chooser of document.querySelectorAll(".chooser")) {
  const filters = [...chooser.querySelectorAll("fieldset[data-filter]")];
  const cards = [...chooser.querySelectorAll(".card")];
  const show = () => {
    const wanted = filters.map((part) => [part.dataset.filter, part.querySelector(":checked").value]);
    for (const card of cards) {
      card.hidden = !wanted.every(([name, value]) => value === "" || card.dataset[name] === value);
      if (card.hidden) card.querySelectorAll("video").forEach((video) => video.pause());
    }
    const left = cards.filter((card) => !card.hidden).length;
    chooser.querySelector(".shown").textContent = `${left} of ${cards.length} shown`;
  };
  filters.forEach((part) => part.addEventListener("change", show));
  show();
}
const ready = (video) => new Promise((go) => {
  if (video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA) return go();
  video.addEventListener("canplay", go, { once: true });
  video.preload = "auto";
});
for (const button of document.querySelectorAll("button.together")) {
  button.addEventListener("click", async () => {
    const videos = [...button.closest(".card").querySelectorAll("video")];
    await Promise.all(videos.map(ready));
    for (const video of videos) {
      video.currentTime = 0;
      video.play();
    }
  });
}
