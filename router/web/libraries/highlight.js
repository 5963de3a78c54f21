// Code to trees of coloured spans, in the languages that answers have most.
import { common, createLowlight } from "lowlight";
import dockerfile from "highlight.js/lib/languages/dockerfile";

const lowlight = createLowlight(common);
lowlight.register({ dockerfile });

export const highlight = lowlight.highlight.bind(lowlight);
export const isKnown = lowlight.registered.bind(lowlight);
