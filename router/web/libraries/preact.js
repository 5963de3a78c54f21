// The view: Preact, its hooks, signals and htm in one file, so that there is one Preact.
import { h } from "preact";
import htm from "htm";

export { Component, Fragment, createContext, createRef, h, render } from "preact";
export { useCallback, useContext, useEffect, useErrorBoundary, useId, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
export { batch, computed, effect, signal, untracked, useComputed, useSignal, useSignalEffect } from "@preact/signals";
export const html = htm.bind(h);
