// Differences of two texts, word by word.
export { diffWords, diffWordsWithSpace } from "diff";
