// A part of the page whose code is fetched when it is shown first.
import { h, useEffect, useState } from "../vendor/preact.js";

/** @param {{load: () => Promise<() => any>}} props */
export function Lazy({ load }) {
  const [view, setView] = useState(/** @type {{of: (() => any) | null, error: unknown}} */ ({ of: null, error: null }));
  useEffect(() => {
    load().then((of) => setView({ of, error: null }), (error) => setView({ of: null, error }));
  }, [load]);
  if (view.error) throw view.error;
  return view.of && h(view.of, null);
}
