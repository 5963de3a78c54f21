// When what came is drawn: the first text at once, then at most each `FLUSH_MS`.

// A change of the page per token would take the page's time, not the engine's.
const FLUSH_MS = 50;

export class Flusher {
  /** @param {() => void} draw */
  constructor(draw) {
    this._draw = draw;
    /** @type {number | null} */
    this._timer = null;
    this._last = 0;
  }

  /** @param {boolean} isUrgent */
  request(isUrgent) {
    if (this._timer !== null) return;
    const wait = isUrgent ? 0 : Math.max(0, this._last + FLUSH_MS - performance.now());
    this._timer = setTimeout(() => {
      // Windows that nobody sees have no frames.
      if (document.hidden) this._flush();
      else requestAnimationFrame(() => this._flush());
    }, wait);
  }

  end() {
    if (this._timer !== null) clearTimeout(this._timer);
    this._draw();
  }

  _flush() {
    this._timer = null;
    this._last = performance.now();
    this._draw();
  }
}
