// Work that waits for the next frame, and is done once however often it was asked for.

/** `schedule(callback)` calls back at the next frame; tests give another one than the browser's. */
export function frameBatcher(run, schedule = nextFrame) {
  let waiting = false;
  let closed = false;
  return {
    request() {
      if (waiting || closed) return;
      waiting = true;
      schedule(() => {
        waiting = false;
        if (!closed) run();
      });
    },
    close() {
      closed = true;
    },
  };
}

// A hidden tab has no frames, but what was said there must still be counted and kept.
function nextFrame(callback) {
  if (typeof document === "undefined" || document.hidden) setTimeout(callback, 50);
  else requestAnimationFrame(callback);
}
