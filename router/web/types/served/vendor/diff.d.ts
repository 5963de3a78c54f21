export { diffWords, diffWordsWithSpace } from "diff";
