// Getting in by a one-time code: `mlxr ui` puts it into the address's fragment, which no server is told.
import { askJson, useKey } from "./api.js";

const CODE = /^#code=([\w-]{1,128})$/;

/** Use up the code in the address, if it has one; address and history forget it first. */
export async function enter() {
  const code = CODE.exec(location.hash)?.[1];
  if (code === undefined) return;
  history.replaceState(history.state, "", location.pathname + location.search);
  const { token } = await askJson("/v1/mlxr/ui/session", { body: { code } });
  useKey(token, true);
}
