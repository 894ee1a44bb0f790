// What is asked only once the reader sees its section.

// -> a function to call at every change: it calls `show()`, at once or as soon as `root` is on the screen.
export function whenSeen(root, show) {
  let visible = false, stale = false;
  const update = () => {
    if (!visible || !stale) return;
    stale = false;
    show();
  };
  new IntersectionObserver((entries) => {
    visible = entries.at(-1).isIntersecting;
    update();
  }).observe(root);
  return () => {
    stale = true;
    update();
  };
}
