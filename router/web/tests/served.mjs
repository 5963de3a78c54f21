// Let Node find modules where the server has them: the libraries stand beside our own code there.
import { register } from "node:module";

const hook = `export const resolve = (name, context, next) =>
  next(name.includes("/vendor/") ? new URL(name, context.parentURL).href.replace("/static/vendor/", "/vendor/") : name, context);`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);
